"""A page in headless Chromium, driven by the DevTools protocol."""

import asyncio
import base64
import json
import os
import subprocess
import urllib.request

import websockets

WAIT = 60


class Page:
    """One tab of a browser of its own, which is gone with the `async with`."""

    def __init__(self, folder, dark=False, size=(1500, 950)):
        self.folder, self.dark, self.size = folder, dark, size
        self.count, self.waiting, self.faults, self.asked = 0, {}, [], []

    async def __aenter__(self):
        profile = os.path.join(self.folder, f"profile-{id(self)}")
        self.process = subprocess.Popen(
            ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
             "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            port = await self.port(os.path.join(profile, "DevToolsActivePort"))
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json") as answer:
                tabs = [tab for tab in json.load(answer) if tab["type"] == "page"]
            self.socket = await websockets.connect(tabs[0]["webSocketDebuggerUrl"], max_size=1 << 28)
            self.reader = asyncio.create_task(self.read())
            for domain in ["Page", "Runtime", "Log", "Network"]:
                await self.call(f"{domain}.enable")
            width, height = self.size
            await self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
            scheme = {"name": "prefers-color-scheme", "value": "dark" if self.dark else "light"}
            await self.call("Emulation.setEmulatedMedia", features=[scheme, {"name": "prefers-reduced-motion", "value": "reduce"}])
        except BaseException:
            self.end()
            raise
        return self

    async def __aexit__(self, *_):
        self.reader.cancel()
        await self.socket.close()
        self.end()

    def end(self):
        self.process.kill()
        self.process.wait()

    async def port(self, file):
        for _ in range(WAIT * 10):
            if self.process.poll() is not None:
                raise RuntimeError(f"chromium has ended: {self.process.returncode}")
            try:
                with open(file) as told:
                    lines = told.read().splitlines()
                if len(lines) > 1:
                    return int(lines[0])
            except FileNotFoundError:
                pass
            await asyncio.sleep(0.1)
        raise RuntimeError("chromium does not start")

    async def read(self):
        async for text in self.socket:
            message = json.loads(text)
            if "id" in message:
                self.waiting.pop(message["id"]).set_result(message)
                continue
            method, params = message["method"], message["params"]
            if method == "Network.requestWillBeSent":
                self.asked.append(params["request"]["url"])
            elif method == "Runtime.exceptionThrown":
                self.faults.append(params["exceptionDetails"])
            elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
                self.faults.append(params["entry"])

    async def call(self, method, **params):
        self.count += 1
        answer = asyncio.get_running_loop().create_future()
        self.waiting[self.count] = answer
        await self.socket.send(json.dumps({"id": self.count, "method": method, "params": params}))
        message = await asyncio.wait_for(answer, WAIT)
        if "error" in message:
            raise RuntimeError(f"{method}: {message['error']}")
        return message["result"]

    async def js(self, expression):
        result = await self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            raise RuntimeError(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    async def open(self, url):
        await self.call("Page.navigate", url=url)
        await self.until("document.querySelectorAll('.node').length && document.querySelectorAll('.list tbody tr').length")

    async def until(self, expression):
        for _ in range(WAIT * 10):
            if await self.js(f"Boolean({expression})"):
                return
            await asyncio.sleep(0.1)
        shown = await self.js("document.body.innerText")
        raise AssertionError(f"never: {expression}\n{shown}")

    async def text(self, selector):
        return await self.js(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''")

    async def number(self, selector):
        return await self.js(f"document.querySelectorAll({json.dumps(selector)}).length")

    async def click(self, selector):
        """Where a pointer would be: what lies above gets it."""
        place = await self.js(
            f"(() => {{ const one = document.querySelector({json.dumps(selector)}); one.scrollIntoView({{block: 'nearest'}});"
            " const box = one.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; })()")
        for kind in ["mousePressed", "mouseReleased"]:
            await self.call("Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], button="left", clickCount=1)

    async def press(self, key):
        text = key if len(key) == 1 else "\r" if key == "Enter" else ""
        codes = {"Enter": 13, "Escape": 27, "Tab": 9, "ArrowDown": 40, "ArrowUp": 38}
        code = {"windowsVirtualKeyCode": codes[key]} if key in codes else {}
        await self.call("Input.dispatchKeyEvent", type="keyDown", key=key, text=text, **code)
        await self.call("Input.dispatchKeyEvent", type="keyUp", key=key, **code)

    async def turns(self, count):
        """Waits until the page has asked and drawn so many times more."""
        now = int(await self.js("document.body.dataset.turn ?? 0"))
        await self.until(f"Number(document.body.dataset.turn) >= {now + count}")

    async def picture(self, name):
        await self.js("document.fonts.ready.then(() => true)")
        drawn = await self.call("Page.captureScreenshot", format="png")
        with open(os.path.join(self.folder, f"{name}.png"), "wb") as file:
            file.write(base64.b64decode(drawn["data"]))
