"""wsc and TLS as operators tune it, against OpenSSL through Python's ssl."""
import re
import ssl
import stat
import subprocess

import pytest
from peer import Server


def sends(session):
    session.send("hello")
    session.read_on()


def tells_of(seen, what):
    """Sends, and notes what the server's socket says of itself."""
    def script(session):
        seen.append(what(session.connection.socket))
        sends(session)
    return script


def hello(program):
    assert program.status() == 0, program.errors
    assert program.rest() == b"hello\n"


def refused(program):
    assert program.status() == 1
    return program.errors


@pytest.fixture
def trust(certificates):
    return ["--ca", certificates.ca]


def test_minimum_version(wsc, certificates, trust):
    context = certificates.tls(certificates.server)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with Server(sends, tls=context) as server:
        hello(wsc("--count", 1, *trust, server.url))
        assert "1.3" in refused(wsc("--no-reconnect", "--tls-min", "1.3", *trust, server.url))
    old = certificates.tls(certificates.server)
    old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with Server(sends, tls=old) as server:
        assert f"TLS handshake with 127.0.0.1:{server.port}" in refused(wsc("--no-reconnect", *trust, server.url))


def test_ciphers(wsc, certificates, trust):
    context = certificates.tls(certificates.server)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    seen = []
    script = tells_of(seen, lambda socket: socket.cipher()[0])
    with Server(script, tls=context) as server:
        hello(wsc("--count", 1, "--tls-ciphers", "ECDHE-ECDSA-CHACHA20-POLY1305", *trust, server.url))
        assert seen == ["ECDHE-ECDSA-CHACHA20-POLY1305"]
    with Server(script, tls=certificates.tls(certificates.server)) as server:
        hello(wsc("--count", 1, "--tls-ciphersuites", "TLS_AES_128_GCM_SHA256", *trust, server.url))
        assert seen[1:] == ["TLS_AES_128_GCM_SHA256"]
        assert '--tls-ciphers "nonsense"' in refused(wsc("--tls-ciphers", "nonsense", *trust, server.url))
        assert '--tls-ciphersuites "nonsense"' in refused(wsc("--tls-ciphersuites", "nonsense", *trust, server.url))


def test_alpn(wsc, certificates, trust):
    context = certificates.tls(certificates.server)
    context.set_alpn_protocols(["feed/2", "http/1.1"])
    seen = []
    with Server(tells_of(seen, lambda socket: socket.selected_alpn_protocol()), tls=context) as server:
        for words, chosen in ([], "http/1.1"), (["--tls-alpn", "x", "--tls-alpn", "feed/2"], "feed/2"):
            hello(wsc("--count", 1, *words, *trust, server.url))
            assert seen.pop() == chosen


def test_pins(wsc, certificates, trust):
    wrong = "sha256//" + "A" * 43 + "="
    with Server(sends, tls=certificates.tls(certificates.server)) as server:
        for way in trust, ["--insecure"]:
            said = refused(wsc("--no-reconnect", "--tls-pin", wrong, *way, server.url))
            right = re.search(r"sha256//\S{44}", said).group()
            hello(wsc("--count", 1, "--tls-pin", wrong, "--tls-pin", right, *way, server.url))
        spki = subprocess.run(f"openssl x509 -in {certificates.server} -noout -pubkey | openssl pkey -pubin -outform der"
                              " | openssl dgst -sha256 -binary | base64", shell=True, capture_output=True, text=True, check=True)
        assert right == "sha256//" + spki.stdout.strip()


def test_key_log(wsc, certificates, trust, tmp_path):
    log = tmp_path / "keys"
    with Server(sends, tls=certificates.tls(certificates.server)) as server:
        for count in 1, 2:
            hello(wsc("--count", 1, "--tls-keylog", log, *trust, server.url))
            assert log.read_text().count("CLIENT_TRAFFIC_SECRET_0 ") == count
        assert stat.S_IMODE(log.stat().st_mode) == 0o600
        assert f"--tls-keylog {tmp_path}: Is a directory" in refused(wsc("--tls-keylog", tmp_path, *trust, server.url))


@pytest.mark.parametrize("version, count", [(ssl.TLSVersion.TLSv1_2, 3), (ssl.TLSVersion.TLSv1_3, 2)])
def test_a_reconnect_resumes_the_session(wsc, certificates, trust, version, count):
    context = certificates.tls(certificates.server)
    context.maximum_version = version

    def script(session):
        session.send("hello")
        session.connection.close(1012)

    with Server(script, tls=context) as server:
        program = wsc("--count", count, *trust, server.url)
        assert program.status() == 0, program.errors
        assert context.session_stats()["hits"] == count - 1
        program = wsc("--count", 2, "--no-tls-resume", *trust, server.url)
        assert program.status() == 0, program.errors
        assert context.session_stats()["hits"] == count - 1


def test_a_server_that_forgot_the_session_is_met_anew(wsc, certificates, trust):
    contexts = [certificates.tls(certificates.server) for _ in range(2)]

    def script(session):
        session.send("hello")
        session.connection.close(1012)

    with Server(script, tls=contexts[0]) as first:
        program = wsc("--count", 2, *trust, first.url)
        assert program.line() == "hello"
        port = first.port
        first.server.shutdown()
    with Server(script, port=port, tls=contexts[1]):
        assert program.line() == "hello"
        assert program.status() == 0, program.errors


def test_another_name_and_host(wsc, certificates, trust):
    context = certificates.tls(certificates.elsewhere)
    names = []
    context.sni_callback = lambda socket, name, _: names.append(name)
    with Server(sends, tls=context) as server:
        hello(wsc("--count", 1, "--tls-server-name", "elsewhere.example", "--host", "feed.example:99", *trust, server.url))
        assert names == ["elsewhere.example"]
        assert server.session().request.headers["Host"] == "feed.example:99"
        said = refused(wsc("--no-reconnect", "--tls-server-name", "other.example", *trust, server.url))
        assert "other.example" in said and "elsewhere.example" in said


@pytest.mark.parametrize("order, good", [("leaf middle", True), ("leaf root middle", True), ("leaf", False)])
def test_chains(wsc, certificates, trust, tmp_path, order, good):
    """OpenSSL sorts what a server has in the wrong order; what is missing is named."""
    def openssl(*words):
        subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)

    folder = tmp_path
    for name, signer, key, text in (
        ("middle", certificates.ca, certificates.folder / "ca.key", "basicConstraints=critical,CA:TRUE\n"),
        ("leaf", folder / "middle.pem", folder / "middle.key", "subjectAltName=IP:127.0.0.1\n"),
    ):
        (folder / f"{name}.ext").write_text(text)
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", folder / f"{name}.key",
                "-subj", f"/CN={name}", "-out", folder / f"{name}.csr")
        openssl("x509", "-req", "-days", 1, "-in", folder / f"{name}.csr", "-CA", signer, "-CAkey", key, "-CAcreateserial",
                "-extfile", folder / f"{name}.ext", "-out", folder / f"{name}.pem")
    parts = {"root": certificates.ca, "middle": folder / "middle.pem", "leaf": folder / "leaf.pem"}
    chain = folder / "chain.pem"
    chain.write_text("".join(parts[name].read_text() for name in order.split()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, folder / "leaf.key")
    with Server(sends, tls=context) as server:
        program = wsc("--count" if good else "--no-reconnect", *([1] if good else []), *trust, server.url)
        if good:
            hello(program)
        else:
            assert "is an intermediate one missing there?" in refused(program)


def test_the_environments_trust(wsc, certificates, tmp_path, monkeypatch):
    with Server(sends, tls=certificates.tls(certificates.server)) as server:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ca))
        hello(wsc("--count", 1, server.url))
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing"))
        monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
        said = refused(wsc("--no-reconnect", server.url))
        assert f"SSL_CERT_FILE={tmp_path}/missing" in said and f"SSL_CERT_DIR={tmp_path}" in said


def test_a_client_certificate_stays_with_its_host(wsc, certificates, trust):
    """The server it was meant for sends us to another name: there nobody is shown who we are, and back home we are known again."""
    context = certificates.tls(certificates.server, ask_client=True)
    context.verify_mode = ssl.CERT_OPTIONAL
    seen = []

    def moved(connection, request):
        seen.append((request.headers["Host"].split(":")[0], bool(connection.socket.getpeercert())))
        if request.path == "/start":
            response = connection.respond(302, "")
            response.headers["Location"] = f"wss://localhost:{server.port}/"
            return response
        return None

    def script(session):
        session.send("hello")
        session.connection.close(1012)

    with Server(script, tls=context, process_request=moved) as server:
        program = wsc("--count", 2, "--max-redirects", 1, "--cert", certificates.client, "--key", certificates.key_of(certificates.client),
                      *trust, server.url + "start")
        assert program.status() == 0, program.errors
        assert seen == [("127.0.0.1", True), ("localhost", False)] * 2
