"""A service on asyncio alone. It asks NEXT for the path it is asked for, and hands on the headers that FORWARD names;
without NEXT it answers by itself."""

import asyncio
import os
import random

PORT, NEXT = int(os.environ["PORT"]), os.environ.get("NEXT")
FORWARD = os.environ.get("FORWARD", "").lower().split(",")


async def read_head(reader):
    text = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = text.strip().split("\r\n")
    return first.split(" ")[1], lines


async def ask(path, headers):
    reader, writer = await asyncio.open_connection("127.0.0.1", int(NEXT))
    lines = [f"GET {path} HTTP/1.1", "Host: next", "Connection: close", *headers, "", ""]
    writer.write("\r\n".join(lines).encode("latin-1"))
    await writer.drain()
    await reader.read()
    writer.close()


async def serve(reader, writer):
    try:
        while True:
            path, lines = await read_head(reader)
            # Requests overtake each other.
            await asyncio.sleep(random.uniform(0, 0.005))
            if NEXT and path != "/":
                await ask(path, [line for line in lines if line.split(":")[0].lower() in FORWARD])
            close = any(line.lower() == "connection: close" for line in lines)
            last = "Connection: close\r\n" if close else ""
            writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{last}\r\nok".encode())
            await writer.drain()
            if close:
                break
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", PORT)
    await server.serve_forever()


asyncio.run(main())
