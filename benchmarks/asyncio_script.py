"""The script that people write instead: aiohttp over the rows, evenly spaced or with `AsyncLimiter(10, 1)`.

Usage: python -m benchmarks.asyncio_script CONTACTS OUTPUT URL spaced|limiter
"""

import asyncio
import csv
import sys
from pathlib import Path

import aiohttp
from aiolimiter import AsyncLimiter


async def main(contacts: Path, output: Path, url: str, pacing: str) -> None:
    with contacts.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    async with aiohttp.ClientSession() as session:
        if pacing == "limiter":
            limiter = AsyncLimiter(10, 1)
            answers = await asyncio.gather(*(_limited(session, limiter, url, row["phone"]) for row in rows))
        else:
            answers = await _spaced(session, url, [row["phone"] for row in rows])
    with output.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([*row.values(), answer] for row, answer in zip(rows, answers, strict=True))


async def _limited(session: aiohttp.ClientSession, limiter: AsyncLimiter, url: str, phone: str) -> str:
    async with limiter:
        return await _look_up(session, url, phone)


async def _spaced(session: aiohttp.ClientSession, url: str, phones: list[str]) -> list[str]:
    tasks = []
    for phone in phones:
        tasks.append(asyncio.create_task(_look_up(session, url, phone)))
        await asyncio.sleep(0.1)
    return await asyncio.gather(*tasks)


async def _look_up(session: aiohttp.ClientSession, url: str, phone: str) -> str:
    digits = "".join(character for character in phone if character.isdigit())
    params = {"phone": f"+1{digits[-10:]}"}
    async with session.get(url, params=params) as response:
        if response.status != 200:
            return f"error {response.status}"
        return str((await response.json())["valid"]).lower()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4]))
