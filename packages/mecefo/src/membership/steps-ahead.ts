/**
 * Without fault tolerance (strategy "none") workers do not wait for the leader's decisions. They begin no step further than this after the
 * one that the leader knows to be next: a request to stop that is written meanwhile reaches everybody before the step it names.
 */
export const STEPS_AHEAD = 8;
