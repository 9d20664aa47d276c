/** Gives this process the `Worker` of browsers, and `navigator.hardwareConcurrency` the number of threads to use. */
export declare function installWebWorker(threads: number): void;
