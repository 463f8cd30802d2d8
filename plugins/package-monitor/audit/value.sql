-- What each enrolment was worth in each month (B-03), from the shared datasets alone and by another route than the plugin's job: for whoever audits its figures.
-- backplane query --city 441900 --format csv - < plugins/package-monitor/audit/value.sql
-- A row per enrolment and month of which the city has bills or use, amounts in whole fen. No customer touches another: a big city may be narrowed to some in `term`.
WITH
-- θ, as `under_used_below` of the plugin's configuration.
rules AS (
  SELECT 3 AS theta_numerator, 10 AS theta_denominator),
calendar AS (
  SELECT known.month, CAST(known.month + INTERVAL '1 month' AS DATE) AS next_month
  FROM (SELECT month FROM charge UNION SELECT CAST(date_trunc('month', day) AS DATE) AS month FROM usage) AS known),

-- The terms of other cities are not ours, although everybody may read them.
here AS (
  SELECT min(city) AS city FROM enrolment),

-- Rows: in force on a day of the month, in Shanghai, or named by a line of any kind. What was cancelled before its start is over before it starts.
term AS (
  SELECT enrolment_id, customer_id, package_id, at, starts_on,
         least(ends_on, coalesce(CAST(cancelled_at + INTERVAL '8' HOUR AS DATE), ends_on)) AS last_on
  FROM enrolment),
line AS (
  SELECT enrolment_id, month,
         sum(CASE WHEN kind IN ('package', 'fee', 'refund', 'adjustment') THEN amount_fen ELSE 0 END) AS charged_fen,
         sum(CASE WHEN kind = 'gift_credit' THEN amount_fen ELSE 0 END) AS credited_fen
  FROM charge
  WHERE enrolment_id IS NOT NULL
  GROUP BY enrolment_id, month),
possible AS (
  SELECT e.enrolment_id, e.customer_id, e.package_id, e.at, c.month, l.enrolment_id IS NOT NULL AS is_named,
         e.starts_on <= e.last_on AND e.starts_on < c.next_month AND e.last_on >= c.month AS in_force,
         coalesce(l.charged_fen, 0) AS charged_fen, coalesce(l.credited_fen, 0) AS credited_fen
  FROM term e CROSS JOIN calendar c
  LEFT JOIN line l ON l.enrolment_id = e.enrolment_id AND l.month = c.month),

-- Step 1. Of all that was charged up to a month, as much is booked as the highest sum so far; what the present sum lacks to that is carried.
charged AS (
  SELECT *, sum(charged_fen) OVER (PARTITION BY enrolment_id ORDER BY month ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS sum_fen
  FROM possible
  WHERE in_force OR is_named),
booked AS (
  SELECT *, greatest(0, max(sum_fen) OVER to_here) - greatest(0, coalesce(max(sum_fen) OVER before, 0)) AS booked_fen,
         sum_fen - greatest(0, max(sum_fen) OVER to_here) AS carried_fen
  FROM charged
  WINDOW to_here AS (PARTITION BY enrolment_id ORDER BY month ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW),
         before AS (PARTITION BY enrolment_id ORDER BY month ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)),

-- As of the 1st: of overlapping validity the later start wins, that of the customer's description before that of the tariff. What the city has of its own on that day, terms of a
-- tariff or components of a package, stands in for the province's. An entitlement of 0 is none.
tariff_of AS (
  SELECT s.customer_id, c.month, t.ordinary_voice_discount_permille AS permille,
         row_number() OVER (PARTITION BY s.customer_id, c.month ORDER BY s.valid_from DESC, t.city DESC, t.valid_from DESC) AS place
  FROM subscriber s JOIN calendar c ON s.valid_from <= c.month AND (s.valid_to IS NULL OR s.valid_to > c.month) CROSS JOIN here h
  LEFT JOIN tariff t ON t.tariff_id = s.tariff_id AND t.city IN ('440000', h.city) AND t.valid_from <= c.month AND (t.valid_to IS NULL OR t.valid_to > c.month)),
offered AS (
  SELECT p.component_id, c.month, p.package_id, p.product_id, p.role, p.list_price_fen, nullif(p.entitlement, 0) AS entitlement, p.measure, p.valid_from,
         p.city <> '440000' AS is_own, bool_or(p.city <> '440000') OVER (PARTITION BY p.package_id, c.month) AS has_own
  FROM here h JOIN package_component p ON p.city IN ('440000', h.city) JOIN calendar c ON p.valid_from <= c.month AND (p.valid_to IS NULL OR p.valid_to > c.month)),
component_of AS (
  SELECT *, row_number() OVER (PARTITION BY component_id, month ORDER BY valid_from DESC) AS place FROM offered WHERE is_own OR NOT has_own),

-- Step 2, by largest remainder. From here on there is a row per component, and one without any for an enrolment whose package has none.
priced AS (
  SELECT b.enrolment_id, b.customer_id, b.at, b.month, b.in_force, b.booked_fen, b.credited_fen, b.carried_fen, coalesce(t.permille, 0) AS permille,
         p.component_id, p.product_id, p.role, p.list_price_fen, p.entitlement, p.measure,
         CASE WHEN sum(p.list_price_fen) OVER (PARTITION BY b.enrolment_id, b.month) = 0 THEN 1 ELSE p.list_price_fen END AS weight
  FROM booked b
  LEFT JOIN tariff_of t ON t.customer_id = b.customer_id AND t.month = b.month AND t.place = 1
  LEFT JOIN component_of p ON p.package_id = b.package_id AND p.month = b.month AND p.place = 1),
weighed AS (
  SELECT *, sum(weight) OVER (PARTITION BY enrolment_id, month) AS weights FROM priced),
divided AS (
  SELECT *, booked_fen * weight / weights AS whole_fen, booked_fen * weight % weights AS remainder FROM weighed),
allocated AS (
  SELECT *, whole_fen + CASE WHEN row_number() OVER by_remainder <= booked_fen - sum(whole_fen) OVER of_month THEN 1 ELSE 0 END AS allocated_fen
  FROM divided
  WINDOW by_remainder AS (PARTITION BY enrolment_id, month ORDER BY remainder DESC, component_id), of_month AS (PARTITION BY enrolment_id, month)),

-- Step 3. A claim finds what the entitlements before it left, or nothing after one without; the last takes the rest. One that is not in force claims nothing.
used AS (
  SELECT customer_id, product_id, CAST(date_trunc('month', day) AS DATE) AS month,
         sum(events) AS events, sum(quantity) AS quantity, sum(seconds) AS seconds, sum(kb) AS kb
  FROM usage
  GROUP BY customer_id, product_id, CAST(date_trunc('month', day) AS DATE)),
claimed AS (
  SELECT a.*,
         coalesce(CASE WHEN NOT in_force THEN 0 WHEN measure = 'events' THEN events WHEN measure = 'quantity' THEN quantity WHEN measure = 'seconds' THEN seconds
                       ELSE kb END, 0) AS pooled,
         coalesce(sum(entitlement) OVER before, 0) AS entitled_before, count(component_id) OVER before - count(entitlement) OVER before AS open_before,
         lead(component_id) OVER claims IS NULL AS is_last
  FROM allocated a LEFT JOIN used u ON u.customer_id = a.customer_id AND u.month = a.month AND u.product_id = a.product_id
  WINDOW claims AS (PARTITION BY a.customer_id, a.month, in_force, a.product_id, measure ORDER BY a.at, enrolment_id, component_id),
         before AS (PARTITION BY a.customer_id, a.month, in_force, a.product_id, measure ORDER BY a.at, enrolment_id, component_id
                    ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)),
found AS (
  SELECT *, CASE WHEN open_before > 0 THEN 0 ELSE greatest(pooled - entitled_before, 0) END AS found FROM claimed),
shared AS (
  SELECT *, CASE WHEN is_last OR entitlement IS NULL THEN found ELSE least(found, entitlement) END AS used FROM found),

-- Step 4. To the nearest fen, halves up, and from there one back where that was a half and the fen is odd.
judged AS (
  SELECT *,
         CASE WHEN component_id IS NULL THEN 'none' WHEN used = 0 THEN 'silent' WHEN used * theta_denominator < theta_numerator * entitlement THEN 'under_used'
              ELSE 'used' END AS state,
         2 * allocated_fen * (entitlement - used) + entitlement AS twice_unused, 2 * entitlement AS twice_entitled
  FROM shared CROSS JOIN rules),
emptied AS (
  SELECT *,
         CASE state WHEN 'silent' THEN allocated_fen
                    WHEN 'under_used' THEN twice_unused / twice_entitled - CASE WHEN twice_unused % twice_entitled = 0 THEN twice_unused / twice_entitled % 2 ELSE 0 END
                    ELSE 0 END AS unused_fen
  FROM judged),
summed AS (
  SELECT enrolment_id, month, in_force, booked_fen, carried_fen, credited_fen, permille, sum(unused_fen) AS virtual_fen,
         sum(CASE WHEN role = 'voice' THEN list_price_fen ELSE 0 END) AS voice_fen,
         sum(CASE WHEN role = 'voice' THEN list_price_fen - allocated_fen ELSE 0 END) AS discount_fen,
         count(component_id) AS components, sum(CASE WHEN state = 'silent' THEN 1 ELSE 0 END) AS silent_components,
         sum(CASE WHEN state = 'under_used' THEN 1 ELSE 0 END) AS under_used_components
  FROM emptied
  GROUP BY enrolment_id, month, in_force, booked_fen, carried_fen, credited_fen, permille),

-- Steps 5 to 7: each part within what those before it leave. The ordinary discount is rounded as above.
gifted AS (
  SELECT *, least(greatest(credited_fen, 0), booked_fen - virtual_fen) AS gifted_fen, 2 * voice_fen * permille + 1000 AS twice_ordinary FROM summed),
swapped AS (
  SELECT *, least(greatest(discount_fen - (twice_ordinary / 2000 - CASE WHEN twice_ordinary % 2000 = 0 THEN twice_ordinary / 2000 % 2 ELSE 0 END), 0),
                  booked_fen - virtual_fen - gifted_fen) AS swapped_fen
  FROM gifted)
SELECT enrolment_id, month, in_force, booked_fen, booked_fen - virtual_fen - gifted_fen - swapped_fen AS real_fen, virtual_fen, gifted_fen, swapped_fen,
       carried_fen, components, silent_components, under_used_components
FROM swapped
ORDER BY month, enrolment_id
