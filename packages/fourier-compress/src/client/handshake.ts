import { ConnectionError, FrameError } from "../errors.ts";
import type { Connection } from "../transport/connection.ts";
import { answerChallenge, type Credentials } from "../wire/answer-challenge.ts";
import { controlFrame, controlMessage, type ControlMessages, type ControlType } from "../wire/control-messages.ts";
import { decodeFrame, encodeFrame, type FrameLimits } from "../wire/frame.ts";
import { Refusal } from "./channel.ts";
import type { TrafficMeter } from "./traffic.ts";

/** Seconds in which a server has to have answered all of the handshake. */
const HANDSHAKE_SECONDS = 20;

/** What a handshake needs besides the connection. */
export interface HandshakeSettings {
  /** Name of this client, for the server's log. */
  readonly name: string;
  readonly credentials: Credentials | undefined;
  readonly limits: FrameLimits;
  readonly meter: TrafficMeter;
}

/**
 * Says hello, proves who the client is, and learns what is served. The connection is closed when it fails.
 * @throws RemoteError when the server refuses, ConnectionError when it ends or does not answer in time, FrameError for other answers
 */
export async function shakeHands(
  connection: Connection, { name, credentials, limits, meter }: HandshakeSettings,
): Promise<ControlMessages["welcome"]> {
  const send = async <Type extends ControlType>(type: Type, message: ControlMessages[Type]): Promise<void> => {
    const bytes = encodeFrame(controlFrame(type, message));
    meter.bytesSent += bytes.length;
    await connection.send(bytes);
  };
  const receive = async <Type extends ControlType>(type: Type): Promise<ControlMessages[Type]> => {
    const bytes = await connection.receive();
    if (bytes === undefined) throw new ConnectionError(`${connection.peer} closed the connection during the handshake`);
    meter.bytesReceived += bytes.length;
    const frame = decodeFrame(bytes, limits);
    if (frame.type === "error") throw new Refusal(controlMessage("error", frame));
    if (frame.type !== type) throw new FrameError(`${connection.peer} sent ${frame.type} where ${type} is due`);
    return controlMessage(type, frame);
  };
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    connection.close("no answer to the handshake");
  }, HANDSHAKE_SECONDS * 1000);
  try {
    await send("hello", { client: name });
    await send("authenticate", await answerChallenge(await receive("challenge"), credentials));
    return await receive("welcome");
  } catch (cause) {
    connection.close("the handshake failed");
    if (isLate) throw new ConnectionError(`${connection.peer} did not answer within ${HANDSHAKE_SECONDS} seconds`, { cause });
    throw cause;
  } finally {
    clearTimeout(timer);
  }
}
