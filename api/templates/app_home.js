(async () => {
  const state = document.getElementById("state");
  const show = (kind, title, lines) => {
    state.className = kind;
    const parts = [Object.assign(document.createElement("h1"), { textContent: title })];
    for (const line of lines) parts.push(Object.assign(document.createElement("p"), { textContent: line }));
    state.replaceChildren(...parts);
  };
  if (!window.shopify) {
    show("failed", "Open this page from Shopify's admin", ["Shopify's App Bridge is not here, so the app cannot tell which shop you are in."]);
    return;
  }
  try {
    let answer;
    for (const isLast of [false, true]) {
      const token = await window.shopify.idToken();
      answer = await fetch("/api/admin/installation", { method: "POST", headers: { Authorization: `Bearer ${token}` } });
      if (isLast || !answer.headers.has("X-Shopify-Retry-Invalid-Session-Request")) break;
    }
    const body = await answer.json();
    if (answer.ok) {
      show("done", `WishCraft is installed in ${body.name}`, [
        `Prices are in ${body.currency}; days begin in the time zone ${body.timezone}.`,
      ]);
    } else {
      show("failed", "WishCraft could not be installed", [body.detail, `Reason: ${body.type.split(":").pop()}. Request ${answer.headers.get("X-Request-Id") || "unknown"}.`]);
    }
  } catch (error) {
    show("failed", "WishCraft does not answer", ["Reload the page in a minute.", String(error)]);
  }
})();
