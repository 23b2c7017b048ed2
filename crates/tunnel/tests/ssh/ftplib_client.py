"""Several transfers of every kind in one session: ftplib_client.py HOST PORT passive|active"""

import ftplib
import hashlib
import io
import random
import sys

HOST, PORT, MODE = sys.argv[1], int(sys.argv[2]), sys.argv[3]

ftp = ftplib.FTP(timeout=60)
ftp.connect(HOST, PORT)
ftp.login()
ftp.set_pasv(MODE == "passive")

contents = {f"file-{size}": random.Random(size).randbytes(size) for size in (0, 1, 65536, 1_500_001)}
contents["n\u00e4me \u65e5\u672c"] = b"a name that is no ASCII"
for name, content in contents.items():
    ftp.storbinary(f"STOR {name}", io.BytesIO(content))
for name, content in contents.items():
    digest = hashlib.sha256()
    ftp.retrbinary(f"RETR {name}", digest.update)
    assert digest.digest() == hashlib.sha256(content).digest(), name
assert set(ftp.nlst()) == set(contents) | {"endless"}, ftp.nlst()

# A refused transfer leaves the session as it was.
try:
    ftp.retrbinary("RETR missing", lambda data: None)
    raise AssertionError("a missing file was sent")
except ftplib.error_perm as error:
    assert str(error).startswith("550"), error

# One that is broken off too. ftplib sends ABOR as urgent data.
data = ftp.transfercmd("RETR endless")
assert data.recv(100_000)
assert ftp.abort()[:3] in ("226", "225", "426")
data.close()
reply = ftp.getmultiline()
assert reply[:3] in ("226", "225"), reply

lines = []
ftp.retrlines("LIST", lines.append)
assert len(lines) == len(contents) + 1, lines
assert "UTF8" in ftp.sendcmd("FEAT")
ftp.quit()
