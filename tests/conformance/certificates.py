"""The certificates of the suite, made on the spot by the openssl command.

Files in the folder: `server.pem` is for localhost and 127.0.0.1 and signed by itself; `stranger.pem` likewise, and nobody has heard of it;
`root.pem` has signed an intermediate one, which has signed the rest. What a server may show (`accept certificate=NAME`):

    server       itself
    stranger     somebody else
    whole        a leaf and the intermediate certificate
    incomplete   the leaf alone
    misordered   the leaf, the root, and the intermediate one last
    expired      was valid until yesterday
    elsewhere    is for another host
"""

import shutil
import ssl
import subprocess
from pathlib import Path

KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
HERE = "subjectAltName=DNS:localhost,IP:127.0.0.1"
CHAINS = {
    "server": ("server",),
    "stranger": ("stranger",),
    "whole": ("leaf", "middle"),
    "incomplete": ("leaf",),
    "misordered": ("leaf", "root", "middle"),
    "expired": ("expired", "middle"),
    "elsewhere": ("elsewhere", "middle"),
}


class Maker:
    def __init__(self, openssl, folder):
        self.openssl, self.folder = openssl, Path(folder)

    def run(self, *words):
        subprocess.run([self.openssl, *map(str, words)], cwd=self.folder, check=True, capture_output=True)

    def request(self, name, *words):
        subject = f"/CN={name} of the conformance suite"
        self.run("req", *KEY, "-keyout", f"{name}.key", "-subj", subject, *words)

    def make(self, name, *extensions, by=None):
        words = [w for e in extensions for w in ("-addext", e)]
        issuer = ("-CA", f"{by}.pem", "-CAkey", f"{by}.key") if by else ()
        self.request(name, "-x509", "-days", 2, "-out", f"{name}.pem", *issuer, *words)

    def make_expired(self, name, by):
        self.request(name, "-out", f"{name}.csr", "-addext", HERE)
        words = ("-CA", f"{by}.pem", "-CAkey", f"{by}.key", "-days", -1, "-copy_extensions", "copy")
        self.run("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", *words)


def contexts(folder):
    """-> what a server may show, by name; None without the openssl command."""
    openssl = shutil.which("openssl")
    if not openssl:
        return None
    maker = Maker(openssl, folder)
    maker.make("server", HERE)
    maker.make("stranger", HERE)
    maker.make("root")
    maker.make("middle", "basicConstraints=critical,CA:true", by="root")
    maker.make("leaf", HERE, "basicConstraints=CA:false", by="middle")
    maker.make("elsewhere", "subjectAltName=DNS:elsewhere.example", "basicConstraints=CA:false", by="middle")
    maker.make_expired("expired", by="middle")
    made = {}
    for name, chain in CHAINS.items():
        file = Path(folder) / f"shown_{name}.pem"
        file.write_bytes(b"".join((Path(folder) / f"{c}.pem").read_bytes() for c in chain))
        made[name] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made[name].load_cert_chain(file, Path(folder) / f"{chain[0]}.key")
    return made
