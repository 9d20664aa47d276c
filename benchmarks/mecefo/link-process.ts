/**
 * Program that receives messages through a library that only moves bytes, and acknowledges each. Arguments: library, address, bytes; ends
 * with its parent.
 */
import { createConnection } from "node:net";

const [library, address, size] = process.argv.slice(2) as [string, string, string];
const bytes = Number(size);
const acknowledgement = new Uint8Array(1);
process.on("disconnect", () => process.exit());

if (library === "net") {
  let received = 0;
  const at = address.startsWith("unix:") ? { path: address.slice(5) } : { host: "127.0.0.1", port: Number(address.split(":").at(-1)) };
  const socket = createConnection({
    ...at, noDelay: true,
    onread: {
      buffer: new Uint8Array(1 << 20),
      callback: (count) => {
        received += count;
        if (received === bytes) {
          received = 0;
          socket.write(acknowledgement);
        }
        return true;
      },
    },
  });
} else if (library === "ws") {
  const { WebSocket } = await import("ws");
  const socket = new WebSocket(address, { perMessageDeflate: false, maxPayload: 2 * bytes });
  socket.on("message", () => {
    socket.send(acknowledgement);
  });
} else {
  const { Reply } = await import("zeromq");
  const socket = new Reply();
  socket.connect(address);
  for await (const [message] of socket) await socket.send(message!.byteLength === bytes ? acknowledgement : "short");
}
