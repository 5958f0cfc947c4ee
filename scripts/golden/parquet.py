"""Parquet files of pyarrow with the rows that it reads from them (tests/data/parquet.rs). Needs pyarrow.

    python scripts/golden/parquet.py            # writes tests/golden/parquet/
    python scripts/golden/parquet.py DIRECTORY  # writes every combination of codec and page version there
"""

import datetime
import decimal
import json
import random
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "golden" / "parquet"
CODECS = ["none", "snappy", "gzip", "zstd", "lz4", "brotli"]
GEN = random.Random(7)


def moment(value):
    """As ISO 8601 with as many places as it needs, in threes."""
    text = value.isoformat()
    if "." in text:
        head, tail = text.split(".")
        zone = tail[6:]
        places = tail[:6]
        text = f"{head}.{places[:3] if places.endswith('000') else places}{zone}"
    return text


def plain(value, kind):
    """What a value is in JSON."""
    if value is None:
        return None
    if pa.types.is_decimal(kind):
        return float(value) if kind.precision <= 15 and kind.scale else (
            int(value) if kind.precision <= 15 else str(value)
        )
    if isinstance(value, (datetime.datetime, datetime.time)):
        return moment(value)
    if isinstance(value, datetime.date):
        return value.isoformat()
    if pa.types.is_map(kind):
        return {k: plain(v, kind.item_type) for k, v in value}
    if isinstance(value, dict):
        return {field.name: plain(value[field.name], field.type) for field in kind}
    if isinstance(value, list):
        return [plain(item, kind.value_type) for item in value]
    if isinstance(value, bytes):
        return value.decode()
    if pa.types.is_dictionary(kind):
        return plain(value, kind.value_type)
    return value


def rows(file):
    table = pq.read_table(file)
    columns = [
        [plain(value, field.type) for value in table.column(field.name).to_pylist()]
        for field in table.schema
    ]
    return [dict(zip(table.schema.names, row)) for row in zip(*columns)]


def maybe(make, share=0.2):
    return None if GEN.random() < share else make()


def word():
    return "".join(GEN.choice("abcdeüß 語🙂\n\"") for _ in range(GEN.randrange(9)))


def some(make, n=4):
    return [make() for _ in range(GEN.randrange(n))]


def chat(n):
    """Conversations as chat datasets have them: a list of structures."""
    turn = pa.struct([("role", pa.string()), ("content", pa.string())])
    schema = pa.schema([
        ("id", pa.int64()),
        ("messages", pa.list_(turn)),
        ("tags", pa.list_(pa.list_(pa.string()))),
        ("meta", pa.struct([("source", pa.dictionary(pa.int32(), pa.string())), ("score", pa.float64())])),
        ("extra", pa.map_(pa.string(), pa.list_(pa.int32()))),
    ])

    def messages():
        make = lambda: {"role": GEN.choice(["user", "assistant"]), "content": maybe(word)}
        return some(lambda: maybe(make, 0.1))

    return pa.Table.from_pylist([
        {
            "id": i - 3,
            "messages": maybe(messages),
            "tags": maybe(lambda: some(lambda: maybe(lambda: some(lambda: maybe(word))))),
            "meta": maybe(lambda: {"source": maybe(lambda: GEN.choice("ab")), "score": maybe(GEN.random)}),
            "extra": maybe(lambda: {f"k{j}": maybe(lambda: some(lambda: j)) for j in range(GEN.randrange(3))}),
        }
        for i in range(n)
    ], schema)


def numbers(n):
    """Every kind of number, date and time."""
    at = datetime.datetime(1969, 12, 31, 23, 59, 59, 123456)
    day = lambda: at + datetime.timedelta(days=GEN.randrange(-9000, 30000), microseconds=GEN.randrange(10**9))
    whole = lambda value: value.replace(microsecond=value.microsecond // 1000 * 1000)
    dec = lambda digits, scale: decimal.Decimal(GEN.randrange(-(10**digits) + 1, 10**digits)).scaleb(-scale)
    columns = {
        "i8": (pa.int8(), lambda: GEN.randrange(-128, 128)),
        "u8": (pa.uint8(), lambda: GEN.randrange(256)),
        "i16": (pa.int16(), lambda: GEN.randrange(-(2**15), 2**15)),
        "u32": (pa.uint32(), lambda: GEN.randrange(2**31, 2**32)),
        "i64": (pa.int64(), lambda: GEN.choice([-(2**63), 2**63 - 1, GEN.randrange(2**60)])),
        "u64": (pa.uint64(), lambda: GEN.choice([2**64 - 1, 2**53 + 1])),
        "f16": (pa.float16(), lambda: GEN.choice([0.5, -1.25, 65504.0])),
        "f32": (pa.float32(), lambda: GEN.random() * 1e-20),
        "f64": (pa.float64(), lambda: GEN.random() * 10 ** GEN.randrange(-300, 300)),
        "flag": (pa.bool_(), lambda: GEN.random() < 0.5),
        "text": (pa.large_string(), word),
        "bytes": (pa.binary(), lambda: word().encode()),
        "none": (pa.null(), lambda: None),
        "date": (pa.date32(), lambda: day().date()),
        "time_ms": (pa.time32("ms"), lambda: whole(day()).time()),
        "time_us": (pa.time64("us"), lambda: day().time()),
        "at_ms": (pa.timestamp("ms"), lambda: whole(day())),
        "at_us": (pa.timestamp("us"), day),
        "at_utc": (pa.timestamp("us", tz="UTC"), lambda: day().replace(tzinfo=datetime.timezone.utc)),
        "dec9": (pa.decimal128(9, 2), lambda: dec(9, 2)),
        "dec15": (pa.decimal128(15, 7), lambda: dec(15, 7)),
        "dec12": (pa.decimal128(12, 0), lambda: dec(12, 0)),
        "dec38": (pa.decimal128(38, 10), lambda: dec(38, 10)),
    }
    arrays = [pa.array([maybe(make) for _ in range(n)], kind) for kind, make in columns.values()]
    return pa.table(arrays, names=list(columns))


def write(directory, name, table, **options):
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / f"{name}.parquet"
    pq.write_table(table, file, **options)
    text = json.dumps(rows(file), ensure_ascii=False, allow_nan=False)
    (directory / f"{name}.json").write_text(text + "\n")


def main():
    if len(sys.argv) == 1:
        write(GOLDEN, "chat-zstd", chat(40), compression="zstd", row_group_size=15)
        write(GOLDEN, "chat-v2-gzip", chat(40), compression="gzip", data_page_version="2.0")
        numbers_schema = numbers(8)
        write(GOLDEN, "numbers", numbers_schema, compression="snappy", write_statistics=False)
        times = numbers(8).select(["at_us", "dec9"])
        write(GOLDEN, "int96-lz4", times, compression="lz4", use_deprecated_int96_timestamps=True,
              store_decimal_as_integer=True)
        return
    directory = Path(sys.argv[1])
    for codec in CODECS:
        for version in ["1.0", "2.0"]:
            for make in [chat, numbers]:
                for dictionary in [True, False]:
                    for size in [3, 2000]:
                        options = {"compression": codec, "data_page_version": version, "row_group_size": 700,
                                   "use_dictionary": dictionary, "data_page_size": 400 if size == 3 else 1 << 20}
                        name = f"{make.__name__}-{codec}-{version}-{dictionary}-{size}"
                        write(directory, name, make(size * 300 if size == 3 else size), **options)
    for encoding in ["DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY", "PLAIN"]:
        table = pa.table({"text": pa.array([maybe(word) for _ in range(500)])})
        write(directory, encoding, table, use_dictionary=False, column_encoding={"text": encoding})
    table = pa.table({"i": pa.array(range(1000)), "f": pa.array([GEN.random() for _ in range(1000)])})
    write(directory, "DELTA_BINARY_PACKED", table, use_dictionary=False,
          column_encoding={"i": "DELTA_BINARY_PACKED", "f": "BYTE_STREAM_SPLIT"})
    for flag in [True, False]:
        write(directory, f"old-lists-{flag}", chat(50), use_compliant_nested_type=flag)


if __name__ == "__main__":
    main()
