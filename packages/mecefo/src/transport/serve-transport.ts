import type { MessagePort } from "node:worker_threads";
import { createSocketTransport } from "./socket-transport.ts";
import type { SocketTransport, SocketTransportOptions } from "./socket-transport.ts";
import { statisticsBytes, toErrorRecord, writeStatistics } from "./thread-messages.ts";
import type { TransportNotice, TransportRequest } from "./thread-messages.ts";
import type { ReceivedMessage } from "./transport.ts";

/**
 * Runs a socket transport in this thread for a `ThreadedTransport` at the other end of the port. A transport that cannot be made is told of
 * by a notice; what throws later is a fault of this package and ends the thread.
 */
export async function serveTransport(port: MessagePort, options: SocketTransportOptions): Promise<void> {
  const notify = (notice: TransportNotice, transfer: ArrayBuffer[] = []): void => {
    port.postMessage(notice, transfer);
  };
  let transport: SocketTransport;
  try {
    transport = await createSocketTransport(options);
  } catch (error) {
    notify({ kind: "unusable", error: toErrorRecord(error) });
    port.close();
    return;
  }
  const shared = new SharedArrayBuffer(statisticsBytes);
  const counters = new Float64Array(shared);
  const unreleased = new Map<number, ReceivedMessage>();
  let received = 0;
  let epoch = -1;

  transport.onMessage((message) => {
    const number = received++;
    // A message keeps its place in the transport's books although its memory goes to the other thread.
    unreleased.set(number, message);
    notify({ kind: "message", number, from: message.from, tag: message.tag, payload: message.payload }, [message.payload.buffer]);
    writeStatistics(counters, transport.statistics());
  });
  transport.onLinkFailure((peer, cause) => {
    notify({ kind: "linkFailure", epoch, peer, cause });
  });

  const send = async ({ number, to, tag, payload }: TransportRequest & { kind: "send" }): Promise<void> => {
    let error: unknown;
    await transport.send(to, tag, payload).catch((reason: unknown) => {
      error = reason;
    });
    const buffer = payload.buffer instanceof ArrayBuffer ? payload.buffer : undefined;
    writeStatistics(counters, transport.statistics());
    const result = error === undefined ? {} : { error: toErrorRecord(error) };
    if (buffer === undefined) notify({ kind: "sent", number, ...result });
    else notify({ kind: "sent", number, ...result, buffer }, [buffer]);
  };

  port.on("message", (request: TransportRequest) => {
    switch (request.kind) {
      case "send":
        void send(request);
        break;
      case "release": {
        const message = unreleased.get(request.number);
        unreleased.delete(request.number);
        if (message !== undefined) transport.release(message, request.buffer);
        break;
      }
      case "beginEpoch":
        epoch = request.epoch;
        transport.beginEpoch(request.epoch, request.peers);
        writeStatistics(counters, transport.statistics());
        break;
      case "inject":
        transport.inject(request.fault);
        break;
      case "close":
        void transport.close().then(() => {
          writeStatistics(counters, transport.statistics());
          notify({ kind: "closed" });
          port.close();
        });
        break;
    }
  });
  // Connections are refused without anything else happening here.
  const refresh = setInterval(() => {
    writeStatistics(counters, transport.statistics());
  }, 250);
  refresh.unref();
  port.on("close", () => {
    clearInterval(refresh);
  });
  notify({ kind: "ready", address: transport.address, statistics: shared });
}
