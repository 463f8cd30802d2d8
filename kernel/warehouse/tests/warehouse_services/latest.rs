use crate::kernel::{Kernel, province, reader, reason};

const HEADER: &str = "city,province,name_zh,name_en,latitude,longitude\n";

#[tokio::test(flavor = "multi_thread")]
async fn reference_rows_are_replaced_by_key_and_equal_ones_are_dropped() {
    let kernel = Kernel::start().await;
    let first = format!("{HEADER}440600,440000,佛山市,Foshan,23.02,113.11\n441900,440000,东莞市,Dongguan,23.05,113.74\n");
    let taken = kernel.import(&province(), "ref.city", "ref.city.440000.20260101.csv", first.as_bytes()).await.unwrap();
    assert_eq!((taken.rows_taken, taken.rows_unchanged, taken.lines), (2, 0, 3));
    let second = format!("{HEADER}440600,440000,佛山市,Fatshan,23.02,113.11\n441900,440000,东莞市,Dongguan,23.05,113.74\n440100,440000,广州市,Guangzhou,,\n");
    let taken = kernel.import(&province(), "ref.city", "ref.city.440000.20260102.csv", second.as_bytes()).await.unwrap();
    assert_eq!((taken.rows_taken, taken.rows_unchanged), (2, 1));
    let sql = "select city, name_en, latitude, revision from city order by city";
    let expected = ["440100|Guangzhou|null|1", "440600|Fatshan|23.02|2", "441900|Dongguan|23.05|1"];
    assert_eq!(kernel.table(&province(), sql).await, expected);
    assert_eq!(kernel.table(&reader("440600"), sql).await, expected, "reference rows are every city's");
    // A third time, over a delete file that is there already.
    let third = format!("{HEADER}440600,440000,佛山市,Foshan,23.02,113.11\n441900,440000,东莞市,Tungkun,23.05,113.74\n");
    kernel.import(&province(), "ref.city", "ref.city.440000.20260103.csv", third.as_bytes()).await.unwrap();
    assert_eq!(kernel.table(&province(), sql).await, ["440100|Guangzhou|null|1", "440600|Foshan|23.02|3", "441900|Tungkun|23.05|2"]);
    let kernel = kernel.restarted(|_| {}).await;
    assert_eq!(kernel.number(&province(), "select count(*) from city").await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn reference_rows_come_from_the_province_only() {
    let kernel = Kernel::start().await;
    let file = format!("{HEADER}441900,440000,东莞市,Taken over,23.05,113.74\n");
    let status = kernel.import(&province(), "ref.city", "ref.city.440600.20260101.csv", file.as_bytes()).await.unwrap_err();
    assert_eq!(reason(&status), "FILE_REFUSED");
    let foshan = crate::kernel::city_caller("440600");
    let status = kernel.import(&foshan, "ref.city", "ref.city.440000.20260101.csv", file.as_bytes()).await.unwrap_err();
    assert_eq!(reason(&status), "PERMISSION_MISSING");
}
