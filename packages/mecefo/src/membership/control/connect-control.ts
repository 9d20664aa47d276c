import { createConnection } from "node:net";
import { LinkError, MembershipError } from "../../errors.ts";
import { parseControlAddress } from "./control-address.ts";
import {
  controlProtocolVersion, coordinatorMessageSchema, isSameProof, makeNonce, proveToken, type ControlRole, type CoordinatorMessage,
} from "./control-protocol.ts";
import { ControlSocket, type ControlSocketListener } from "./control-socket.ts";

/** Whom to connect to, and as what. */
export interface ControlConnectionOptions {
  /** "unix:/path/to.sock" or "tcp://host:port". */
  readonly address: string;
  readonly token: string;
  readonly role: ControlRole;
  /** A worker's member id. */
  readonly id?: string | undefined;
  /** Milliseconds for connection and handshake together. */
  readonly limit: number;
}

/**
 * Connects to a coordinator; both sides prove that they know the token. What comes after that goes to `listener`.
 * @throws LinkError when it cannot be reached, which is worth another try, and MembershipError when one side refuses, which is not
 */
export async function connectControl(
  options: ControlConnectionOptions, listener: ControlSocketListener<CoordinatorMessage>,
): Promise<ControlSocket<CoordinatorMessage>> {
  const { address, token, role, id, limit } = options;
  const where = parseControlAddress(address);
  const socket = new ControlSocket(
    createConnection(where.kind === "unix" ? { path: where.path } : { host: where.host, port: where.port }), coordinatorMessageSchema,
  );
  const clientNonce = makeNonce();
  return await new Promise((resolve, reject) => {
    let coordinatorNonce: string | undefined;
    const timer = setTimeout(() => fail(new LinkError(address, `no coordinator answered within ${limit} ms`)), limit);
    const fail = (error: Error): void => {
      clearTimeout(timer);
      socket.destroy(error.message);
      reject(error);
    };
    socket.listen({
      closed: (cause) => fail(new LinkError(address, cause)),
      message: (message) => {
        if (message.kind === "refuse") {
          fail(new MembershipError(`the coordinator at ${address} refused: ${message.reason}`));
        } else if (message.kind === "challenge" && coordinatorNonce === undefined) {
          if (message.version !== controlProtocolVersion) {
            const versions = `version ${message.version} of the control protocol, not ${controlProtocolVersion}`;
            fail(new MembershipError(`the coordinator at ${address} speaks ${versions}`));
            return;
          }
          coordinatorNonce = message.nonce;
          const proof = proveToken(token, "client", { coordinatorNonce, clientNonce, role, id });
          socket.send({ kind: "answer", version: controlProtocolVersion, role, id, nonce: clientNonce, proof });
        } else if (message.kind === "welcome" && coordinatorNonce !== undefined) {
          if (!isSameProof(message.proof, proveToken(token, "coordinator", { coordinatorNonce, clientNonce, role, id }))) {
            fail(new MembershipError(`whoever listens at ${address} does not know the token`));
            return;
          }
          clearTimeout(timer);
          socket.trust();
          socket.listen(listener);
          resolve(socket);
        } else {
          fail(new LinkError(address, `"${message.kind}" before the handshake was over`));
        }
      },
    });
  });
}
