/** What packages that also run in browsers need to reach Node; an entry of its own, so that the types of Node stay out of the main one. */
export { nodeModule } from "./io/node-module.ts";
