"""TLS before a server that has none: `python -m tests.database.tls_terminator CERT KEY PORT TARGET_PORT`."""

import asyncio
import ssl
import sys


async def copy(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def main(certificate, key, port, target):
    async def serve(reader, writer):
        there, back = await asyncio.open_connection("127.0.0.1", int(target))
        await asyncio.gather(copy(reader, back), copy(there, writer))

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    server = await asyncio.start_server(serve, "127.0.0.1", int(port), ssl=context)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
