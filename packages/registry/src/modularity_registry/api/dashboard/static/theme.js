// A classic script in the head, so that the chosen theme is set before the first paint.
(() => {
  try {
    const theme = localStorage.getItem("modularity-theme");
    if (theme === "light" || theme === "dark") {
      document.documentElement.dataset.theme = theme;
    }
  } catch {
    // Without storage the system's theme applies.
  }
})();
