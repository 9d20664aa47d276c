/** Something worth a line in a client's log. */
export type ClientEvent =
  /** A connection stands and the server has said what it serves. */
  | { readonly kind: "connected"; readonly peer: string; readonly server: string }
  /** The connection ended without having been closed here. */
  | { readonly kind: "disconnected"; readonly peer: string; readonly reason: string }
  /** An attempt at a new connection follows after the delay. */
  | { readonly kind: "reconnecting"; readonly attempt: number; readonly delayMilliseconds: number }
  /** Attempts are used up; what waited has failed. */
  | { readonly kind: "gave-up"; readonly reason: string }
  | { readonly kind: "opened"; readonly session: string; readonly reusedTokens: number }
  /** A session was taken up again; `resent` frames had not reached the server. */
  | { readonly kind: "resumed"; readonly session: string; readonly resent: number }
  /** The server did not hold the session any more: `messages` were sent once more, into a new one. */
  | { readonly kind: "rebuilt"; readonly session: string; readonly messages: number; readonly reusedTokens: number };
