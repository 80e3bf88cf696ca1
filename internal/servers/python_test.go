package servers

var (
	pythonWebSockets = brand{start: python("websockets_echo.py", "websockets"), ask: askEcho}
	aiohttp          = brand{start: python("aiohttp_echo.py", "aiohttp"), ask: askEcho}
)
