// A plain script in the head: the chosen theme is there before anything is drawn.
(() => {
  try {
    const theme = localStorage.getItem("modularity-theme");
    if (theme === "light" || theme === "dark") {
      document.documentElement.dataset.theme = theme;
    }
  } catch {
    // Where nothing may be kept, the system's choice holds.
  }
})();
