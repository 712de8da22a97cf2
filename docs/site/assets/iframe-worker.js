// The search runs in a worker, and browsers start no worker from a file. So on a site
// that is opened from the disk, the worker's script runs in a hidden frame instead.
// (Zensical loads such a script from a CDN, unless the site names one of its own.)
if (location.protocol === "file:") {
  window.Worker = function (url) {
    const { port1: outside, port2: inside } = new MessageChannel();
    const frame = document.createElement("iframe");
    frame.hidden = true;
    document.documentElement.append(frame);
    const scope = frame.contentWindow;
    scope.postMessage = (data) => inside.postMessage(data);
    const script = scope.document.createElement("script");
    script.src = url;
    // Messages wait in the channel until the script can take them.
    script.onload = () => {
      inside.onmessage = ({ data }) => {
        scope.dispatchEvent(new MessageEvent("message", { data }));
      };
    };
    script.onerror = () => outside.onerror?.(new Event("error"));
    scope.document.head.append(script);
    outside.terminate = () => {
      outside.close();
      frame.remove();
    };
    return outside;
  };
}
