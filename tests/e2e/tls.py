"""An authority of the tests' own, and a server that ends TLS in front of the emulator."""

import datetime
import pathlib
import re
import socket
import ssl
import threading

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


class Authority:
    """Its certificate is `file`, as AWS_CA_BUNDLE takes it."""

    def __init__(self, folder, name):
        self.folder = pathlib.Path(folder)
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        certificate = self.sign(self.name, self.key, x509.BasicConstraints(ca=True, path_length=0))
        self.file = self.write(f"{name}.pem", certificate.public_bytes(serialization.Encoding.PEM))

    def sign(self, subject, key, *extensions):
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = x509.CertificateBuilder(
            issuer_name=self.name,
            subject_name=subject,
            public_key=key.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=now - datetime.timedelta(hours=1),
            not_valid_after=now + datetime.timedelta(hours=1),
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=True)
        return builder.sign(self.key, hashes.SHA256())

    def write(self, name, content):
        path = self.folder / name
        path.write_bytes(content)
        return path

    def context(self, *names):
        """What a server needs that shows a certificate for these names."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self.sign(x509.Name([]), key, x509.SubjectAlternativeName([x509.DNSName(name) for name in names]))
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path = self.write(f"{names[0]}.pem", private + certificate.public_bytes(serialization.Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context


class Server:
    """`with Server(context, port) as server:` hands on what comes by TLS to a port, and keeps the operations' names."""

    def __init__(self, context, port):
        self.context, self.port, self.operations = context, port, set()

    def __enter__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://localhost:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=[connection], daemon=True).start()

    def serve(self, connection):
        try:
            with self.context.wrap_socket(connection, server_side=True) as client:
                with socket.create_connection(("127.0.0.1", self.port)) as emulator:
                    threading.Thread(target=self.pump, args=[emulator, client], daemon=True).start()
                    self.pump(client, emulator)
        except OSError:  # a client that doesn't trust the certificate
            pass

    def pump(self, source, target):
        try:
            while data := source.recv(65536):
                self.operations |= set(re.findall(rb"(?i)x-amz-target: *(\S+)", data))
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass
