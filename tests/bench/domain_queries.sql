-- Ten questions of the domain, in SQL that the kernel and its peers read alike; each begins with its name. Amounts are integers, so that answers are compared digit by digit.

-- silent enrolments
select e.city, count(*) as silent
from enrolment e
join package_component c on c.package_id = e.package_id
left join (
    select customer_id, product_id, sum(events) as events from usage where day >= date '2026-03-01' group by customer_id, product_id
) u on u.customer_id = e.customer_id and u.product_id = c.product_id
where e.starts_on < date '2026-03-01' and coalesce(u.events, 0) = 0
group by e.city;

-- cube by day, city and product
select day, city, product_id, sum(events) as events, sum(fee_fen) as fee_fen, count(*) as n from usage group by day, city, product_id;

-- active users by city
select city, count(distinct customer_id) as users from usage where day >= date '2026-03-01' group by city;

-- volume by brand and tier
select s.brand, s.value_tier, sum(u.kb) as kb, count(*) as n
from usage u
join subscriber s on s.customer_id = u.customer_id
where u.day >= date '2026-03-01'
group by s.brand, s.value_tier;

-- one city, one week
select product_id, sum(events) as events, sum(seconds) as seconds from usage
where city = '440600' and day between date '2026-02-09' and date '2026-02-15'
group by product_id;

-- products used together
with used as (select distinct customer_id, product_id from usage where day >= date '2026-03-25')
select a.product_id as one, b.product_id as other, count(*) as customers
from used a
join used b on b.customer_id = a.customer_id
where a.product_id < b.product_id
group by a.product_id, b.product_id;

-- top customers
select customer_id, sum(fee_fen) as fee_fen from usage where day >= date '2026-03-01' group by customer_id order by fee_fen desc, customer_id limit 100;

-- one customer
select day, product_id, events, seconds, kb from usage where customer_id = 123457;

-- features of churn
select count(*) as customers, sum(case when recent = 0 then 1 else 0 end) as silent, sum(products) as products, sum(days) as days, max(kb) as kb
from (
    select customer_id, sum(case when day >= date '2026-03-17' then events else 0 end) as recent,
        count(distinct product_id) as products, count(distinct day) as days, sum(kb) as kb
    from usage
    group by customer_id
) t;

-- week by week
select product_id, day, sum(events) over (partition by product_id order by day rows between 6 preceding and current row) as events
from (select product_id, day, sum(events) as events from usage group by product_id, day) t;
