"""Takes ftplib through all it can do: ftplib_client.py HOST PORT passive|active

Stores the current directory as /stored, fetches it back, and checks everything on the way.
"""

import ftplib
import io
import os
import sys

HOST, PORT, MODE = sys.argv[1], int(sys.argv[2]), sys.argv[3]


def connect():
    ftp = ftplib.FTP(timeout=30)
    ftp.connect(HOST, PORT)
    ftp.login()
    ftp.set_pasv(MODE == "passive")
    return ftp


def fetch(ftp, path, rest=None):
    parts = []
    ftp.retrbinary("RETR " + path, parts.append, rest=rest)
    return b"".join(parts)


def expect_error(code, call, *arguments):
    try:
        answer = call(*arguments)
    except ftplib.Error as error:
        assert str(error).startswith(code), f"{arguments}: expected {code}, got {error}"
    else:
        raise AssertionError(f"{arguments}: expected {code}, got {answer}")


def store_tree(ftp):
    ftp.mkd("stored")
    for folder, folders, files in os.walk("."):
        remote = "/stored" + folder[1:]
        for name in folders:
            made = ftp.mkd(f"{remote}/{name}")
            assert made == f"{remote}/{name}", made
        for name in files:
            with open(os.path.join(folder, name), "rb") as file:
                ftp.storbinary(f"STOR {remote}/{name}", file)


def fetch_tree(ftp):
    """Walks by MLSD, and compares every file, its size, and the listing's names."""
    for folder, folders, files in os.walk("."):
        remote = "/stored" + folder[1:]
        entries = dict(ftp.mlsd(remote, ["type", "size", "modify"]))
        listed = {name for name, facts in entries.items() if facts["type"] in ("file", "dir")}
        assert listed == set(folders) | set(files), (remote, listed)
        # mlsd() has set TYPE A, of which the size is another.
        ftp.voidcmd("TYPE I")
        for name in files:
            with open(os.path.join(folder, name), "rb") as file:
                contents = file.read()
            assert entries[name]["type"] == "file"
            assert int(entries[name]["size"]) == len(contents), name
            assert ftp.size(f"{remote}/{name}") == len(contents), name
            assert fetch(ftp, f"{remote}/{name}") == contents, name


def list_names(ftp):
    assert sorted(ftp.nlst("/stored/a/b")) == ["/stored/a/b/beside.bin", "/stored/a/b/c"], ftp.nlst("/stored/a/b")
    ftp.cwd("/stored/a/b")
    assert ftp.pwd() == "/stored/a/b"
    assert sorted(ftp.nlst()) == ["beside.bin", "c"], ftp.nlst()
    lines = []
    ftp.dir(lines.append)
    assert sorted(line.split()[-1] for line in lines) == ["beside.bin", "c"], lines
    ftp.cwd("..")
    assert ftp.pwd() == "/stored/a"
    ftp.cwd("/")


def move_lines(ftp):
    ftp.storlines("STOR lines.txt", io.BytesIO(b"one\r\ntwo\nthree"))
    lines = []
    ftp.retrlines("RETR lines.txt", lines.append)
    assert lines == ["one", "two", "three"], lines
    ftp.voidcmd("TYPE I")
    assert fetch(ftp, "lines.txt") == b"one\ntwo\nthree\n", fetch(ftp, "lines.txt")
    ftp.delete("lines.txt")


def restart(ftp):
    with open("large.bin", "rb") as file:
        whole = file.read()
    for offset in (1, 1_000_000, len(whole) - 1, len(whole)):
        assert fetch(ftp, "/stored/large.bin", rest=offset) == whole[offset:], offset
    ftp.storbinary("STOR again.bin", io.BytesIO(whole[:12_345]))
    ftp.storbinary("STOR again.bin", io.BytesIO(whole[12_345:]), rest=12_345)
    assert fetch(ftp, "again.bin") == whole
    ftp.storbinary("APPE again.bin", io.BytesIO(b"and more"))
    assert fetch(ftp, "again.bin") == whole + b"and more"
    ftp.delete("again.bin")


def abort(ftp):
    """A download that is broken off; the session goes on."""
    ftp.voidcmd("TYPE I")
    data = ftp.transfercmd("RETR /endless")
    assert data.recv(1000)
    # RFC 959 section 4.1.3: 426 for the transfer, then 226 for ABOR. ftplib reads the first.
    assert ftp.abort().startswith("426")
    assert ftp.getresp().startswith("226")
    data.close()
    assert ftp.sendcmd("NOOP").startswith("200")
    with open("large.bin", "rb") as file:
        assert fetch(ftp, "/stored/large.bin") == file.read()


def change(ftp):
    ftp.storbinary("STOR first", io.BytesIO(b"1"))
    ftp.rename("first", "second")
    expect_error("550", ftp.size, "first")
    assert ftp.size("second") == 1
    ftp.sendcmd("MFMT 20200102030405 second")
    assert ftp.sendcmd("MDTM second") == "213 20200102030405"
    ftp.delete("second")
    expect_error("550", ftp.delete, "second")
    ftp.mkd('say "hi"')
    ftp.cwd('say "hi"')
    assert ftp.pwd() == '/say "hi"', ftp.pwd()
    ftp.cwd("/")
    ftp.rmd('say "hi"')
    expect_error("550", ftp.rmd, "/stored")
    expect_error("550", ftp.cwd, "nowhere")
    expect_error("550", ftp.retrbinary, "RETR nowhere", print)
    expect_error("550", ftp.nlst, "nowhere")
    expect_error("501", ftp.sendcmd, "TYPE X")
    expect_error("500", ftp.sendcmd, "NONSENSE")


def data_connections(ftp):
    """The commands that set data connections up, by their own methods."""
    host, port = ftp.makepasv()
    assert host == HOST and port > 0, (host, port)
    # A later command replaces what an earlier one set up.
    with ftp.makeport() as listener:
        listener.settimeout(30)
        ftp.sendcmd("TYPE A")
        assert ftp.sendcmd("NLST /stored/a").startswith("1")
        connection, _ = listener.accept()
        with connection, connection.makefile("rb") as file:
            assert file.read() == b"/stored/a/b\r\n"
        ftp.voidresp()


def main():
    with connect() as ftp:
        store_tree(ftp)
        fetch_tree(ftp)
        list_names(ftp)
        move_lines(ftp)
        restart(ftp)
        change(ftp)
        data_connections(ftp)
        abort(ftp)
        assert ftp.quit().startswith("221")
    # An empty download and many sessions side by side.
    sessions = [connect() for _ in range(20)]
    for ftp in sessions:
        assert fetch(ftp, "/stored/empty") == b""
    for ftp in sessions:
        ftp.quit()
    expect_error("530", login_as_somebody)


def login_as_somebody():
    with ftplib.FTP(timeout=30) as ftp:
        ftp.connect(HOST, PORT)
        ftp.login("somebody", "secret")


main()
