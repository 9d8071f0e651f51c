"""Writes floats.txt: doubles as the hex of their bits, and as printed by Python's repr."""

import math
import pathlib
import random
import struct

random.seed(1)
values = [0.0, -0.0, 1.0, -1.0, 0.1, 1e16, 1e15, 123456789012345680.0, 9999999999999998.0, 1e-4, 1e-5,
          9.999999999999999e-05, 1e22, 1e23, 1e100, 1e-100, 5e-324, 2.2250738585072014e-308,
          1.7976931348623157e308, 2.0**53, 2.0**53 - 1, 2.0**54, 2.0**63, 2.0**64, -2.0**70, 1700000000.123456789,
          1700000000.0, 0.30000000000000004, 123456.789e-10, -1.5e-7, 1e-7, 4.35, 1e17, 12345678901234567.0]
values += [math.nextafter(value, math.inf) for value in values] + [math.nextafter(value, -math.inf) for value in values]
values += [random.uniform(-2e9, 2e9) for _ in range(300)]
values += [random.getrandbits(60) / 1e9 for _ in range(300)]
values += [float(10**exponent) for exponent in range(0, 30)] + [10.0**-exponent for exponent in range(0, 30)]
while len(values) < 2000:
    value, = struct.unpack(">d", random.randbytes(8))
    values.append(value)
values = [value for value in values if math.isfinite(value)]
lines = [f"{struct.pack('>d', value).hex()} {value!r}\n" for value in values]
pathlib.Path(__file__).with_name("floats.txt").write_text("".join(lines), "ascii")
