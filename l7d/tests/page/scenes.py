"""What the page does: `scenes.py SCENE URL FOLDER`."""

import asyncio
import sys

from browser import Page


def check(is_so, what):
    if not is_so:
        raise AssertionError(what)


async def quiet(page, url):
    """Nothing failed on the way, and nobody else was asked."""
    check(not page.faults, f"faults: {page.faults}")
    own = url.split("?")[0]
    others = [one for one in page.asked if not one.startswith((own, "data:"))]
    check(not others, f"asked elsewhere: {others}")


async def looks(url, folder):
    """From what fails to one flow and why, with a pointer, in light and dark."""
    for dark in [False, True]:
        name = "dark" if dark else "light"
        async with Page(folder, dark) as page:
            await page.open(url)
            check("3 of 16 connections fail" in await page.text("#verdict"), await page.text("#verdict"))
            theme = await page.js("document.documentElement.dataset.theme")
            check(theme == name, theme)
            await page.picture(f"{name}-1-map")
            await page.click(".alarm:nth-of-type(3)")
            await page.until("document.querySelector('#panel .tiles')")
            panel = await page.text("#panel")
            check("shop/web → shop/cart" in panel and "cart-api" in panel, panel)
            check("DELETE /cart/items/{id}" in panel, panel)
            await page.turns(1)
            await page.picture(f"{name}-2-connection")
            await page.until("[...document.querySelectorAll('.list tbody tr')].every((row) => row.innerText.includes('dropped'))")
            await page.click(".list tbody tr")
            await page.until("document.querySelector('#panel .meaning')")
            panel = await page.text("#panel")
            for words in ["No rule of the policies in force allows this request", "CiliumNetworkPolicy shop/cart-api", "Nearest rule", "l7d trace --connection"]:
                check(words in panel, f"{words}: {panel}")
            await page.picture(f"{name}-3-flow")
            await quiet(page, url)
    async with Page(folder, size=(640, 1000)) as page:
        await page.open(url)
        wide = await page.js("document.documentElement.scrollWidth <= innerWidth")
        check(wide, "a narrow page is scrolled sideways")
        await page.picture("narrow")


async def keys(url, folder):
    """The same without a pointer."""
    async with Page(folder) as page:
        await page.open(url)
        await page.press("n")
        await page.until("document.querySelector('#panel .tiles')")
        first = await page.text("#panel h2")
        await page.press("n")
        await page.until(f"document.querySelector('#panel h2').innerText !== {first!r}")
        await page.press("Escape")
        await page.until("document.querySelector('#panel .pairs')")
        await page.press("/")
        for letter in "DELETE":
            await page.press(letter)
        await page.until("document.querySelectorAll('.list tbody tr').length === 1")
        await page.press("Enter")
        check(await page.js("document.activeElement.matches('.list tbody tr')"), "the row has no focus")
        await page.press("Enter")
        await page.until("document.querySelector('#panel .meaning')")
        check("#" in await page.js("location.href") and "flow=" in await page.js("location.hash"), "not in the address")
        await page.press("Escape")
        await page.until("!document.querySelector('#panel .meaning')")
        await page.press("w")
        await page.until("[...document.querySelectorAll('.node .title')].some((one) => one.textContent === 'shop')")
        await page.press("t")
        check(await page.js("document.documentElement.dataset.theme") == "dark", "t changes nothing")
        await page.press("?")
        check(await page.js("document.querySelector('#keys').open"), "no keys are shown")
        await page.picture("keys")
        unnamed = await page.js("[...document.querySelectorAll('button, select, input, [role=button]')].filter((one) => !(one.ariaLabel || one.innerText || one.textContent || one.title)).length")
        check(unnamed == 0, f"{unnamed} things have no name")
        await quiet(page, url)


async def hostile(url, folder):
    """Whatever peers say is text."""
    async with Page(folder) as page:
        await page.call("Page.addScriptToEvaluateOnNewDocument", source="window.alert = () => { window.hacked = true; };")
        await page.open(url)
        await page.js("document.querySelectorAll('.pair')[0].click()")
        await page.until("document.querySelector('#panel .tiles')")
        await page.js("document.querySelector('.list tbody tr').click()")
        await page.until("document.querySelector('#panel .facts')")
        panel = await page.text("#panel")
        check("<img src=x onerror=alert(1)>" in panel, panel)
        check(not await page.js("window.hacked"), "a script of others has run")
        check(await page.number("img, iframe, object, embed, form, body script") == 0, "markup of others is there")
        await page.picture("hostile")
        await quiet(page, url)


async def flood(url, folder):
    """Much that happens is few rows, and one question at a time."""
    async with Page(folder) as page:
        await page.open(url)
        flows = "document.querySelector('#server').textContent"
        check("live" in await page.js(flows), await page.js(flows))
        before = len(page.asked)
        await page.turns(4)
        asked = len(page.asked) - before
        check(asked <= 5 * 3, f"{asked} questions in 4 turns")
        rows = await page.number(".list tbody tr")
        check(0 < rows <= 200, f"{rows} rows")
        everything = await page.number("*")
        check(everything < 4000, f"{everything} elements")
        await page.press(" ")
        check("paused" in await page.js(flows), await page.js(flows))
        await page.picture("live")
        await quiet(page, url)


scene, url, folder = sys.argv[1:]
asyncio.run({"looks": looks, "keys": keys, "hostile": hostile, "flood": flood}[scene](url, folder))
