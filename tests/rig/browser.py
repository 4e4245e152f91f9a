"""Debian's chromium without a screen, driven by its own chromedriver over the DevTools protocol."""

from __future__ import annotations

import base64
import json

from selenium import webdriver

PHONE, DESKTOP = (390, 844), (1280, 900)
OF_THE_PAGE = ("file:", "data:")


class Browser:
    """One browser with an empty profile. scripts: whether pages may run any."""

    def __init__(self, directory, scripts=True):
        options = webdriver.ChromeOptions()
        options.binary_location = "/usr/bin/chromium"
        for flag in (
            "headless=new",
            "no-sandbox",
            "disable-dev-shm-usage",
            "hide-scrollbars",
            "no-first-run",
            "disable-background-networking",
            "disable-component-update",
            "disable-sync",
            f"user-data-dir={directory}",
        ):
            options.add_argument("--" + flag)
        if not scripts:
            options.add_experimental_option(
                "prefs", {"profile.managed_default_content_settings.javascript": 2}
            )
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(
            options=options, service=webdriver.ChromeService("/usr/bin/chromedriver")
        )

    def open(self, file, size=DESKTOP, dark=False):
        """A file, in a window of that size (width, height)."""
        self.driver.get("about:blank")  # and not its own first page, which asks for much
        for log in ("browser", "performance"):
            self.driver.get_log(log)
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            width=size[0],
            height=size[1],
            deviceScaleFactor=1,
            mobile=size == PHONE,
        )
        # what scrolls slowly cannot be clicked
        wishes = {"color-scheme": "dark" if dark else "light", "reduced-motion": "reduce"}
        self.devtools(
            "Emulation.setEmulatedMedia",
            features=[
                {"name": "prefers-" + name, "value": value} for name, value in wishes.items()
            ],
        )
        self.driver.get(f"file://{file}")

    def devtools(self, command, **arguments):
        return self.driver.execute_cdp_cmd(command, arguments)

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def screenshot(self, file):
        """The whole page, however high, up to 12,000 pixels."""
        size = self.devtools("Page.getLayoutMetrics")["cssContentSize"]
        clip = {
            "x": 0,
            "y": 0,
            "width": size["width"],
            "height": min(size["height"], 12000),
            "scale": 1,
        }
        shot = self.devtools("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        file.write_bytes(base64.b64decode(shot["data"]))

    def complaints(self) -> list:
        """What the console has said."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list:
        """Addresses asked for since the page was opened, but for the page itself and what is in
        it.
        """
        events = [
            json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")
        ]
        asked = [
            event["params"]["request"]["url"]
            for event in events
            if event["method"] == "Network.requestWillBeSent"
        ]
        return [address for address in asked if not address.startswith(OF_THE_PAGE)]

    def close(self):
        self.driver.quit()
