"""A web service that stylizes photos: POST an image to /stylize/STYLE, and get a PNG back.

uvicorn examples.web_service:app
curl --data-binary @cat.jpg http://127.0.0.1:8000/stylize/starry-night > starry-cat.png
"""

import io
from functools import cache

from fastapi import FastAPI, HTTPException, Request, Response
from PIL import Image, UnidentifiedImageError
from starlette.concurrency import run_in_threadpool

import tinystyle

app = FastAPI()
load = cache(tinystyle.load)


def stylized(style: str, data: bytes) -> bytes:
    picture = load(f"pretrained:{style}").stylize(Image.open(io.BytesIO(data)))
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()


@app.post("/stylize/{style}")
async def stylize(style: str, request: Request) -> Response:
    try:
        png = await run_in_threadpool(stylized, style, await request.body())
    except (tinystyle.UserError, UnidentifiedImageError) as error:
        raise HTTPException(400, str(error)) from error
    return Response(png, media_type="image/png")
