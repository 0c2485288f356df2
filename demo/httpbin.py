"""A server that answers as httpbin does, as far as the demo asks."""

import http.server
import json
import socket
import sys


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
        origin = self.client_address[0].removeprefix("::ffff:")
        text = json.dumps({"method": self.command, "url": self.path, "origin": origin, "data": body})
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    do_GET = do_POST = answer

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6


server = Server(("::", int(sys.argv[1])), Handler)
print("serving", flush=True)
server.serve_forever()
