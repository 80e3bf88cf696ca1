package redact_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/respool/respool/internal/redact"
)

// Text that looks like a secret is removed in all its forms.
func TestHide(t *testing.T) {
	for in, want := range map[string]string{
		"root:s3cret@tcp(10.0.0.1:3306)/db?x=s3cret":            "…@tcp(10.0.0.1:3306)/db?…",
		"dial joe:s3@cret@host:5432/db: refused":                "dial …@host:5432/db: refused",
		"user=joe password=s3cret host=h":                       "user=joe password=… host=h",
		"user=joe password='s3 cret' host=h":                    "user=joe password=… host=h",
		`PASSWORD="s3 cret";Server=h`:                           "PASSWORD=…;Server=h",
		"/v1;token=s3cret;x=1 refused":                          "/v1;token=…;x=1 refused",
		"a;access_token=s3cret&b=c":                             "a;access_token=…&b=c",
		"Endpoint=sb;SharedAccessKey=s3cret=;x":                 "Endpoint=sb;SharedAccessKey=…;x",
		"AccountKey=s3cret==":                                   "AccountKey=…",
		"sig=s3cret":                                            "sig=…",
		"X-Amz-Signature=s3cret&X-Amz-Expires=5":                "X-Amz-Signature=…&X-Amz-Expires=5",
		"wss%3A%2F%2Fjoe%3As3cret%40host%2Fp%3Ftoken%3Ds3cret":  "wss://…@host/p?…",
		"at https%3a%2f%2fhost%3Fkey%3ds3cret here":             "at https://host?… here",
		"http%253A%252F%252Fjoe%253As3cret%2540host":            "http://…@host",
		"see https://a/x?u=https%3A%2F%2Fb%3Ftoken%3Ds3cret, s": "see https://a/x?… s",
		"%zz%3A%2F%2Fh%3Fs3cret%20s3cret":                       "%zz://h?…",
		"Authorization: Bearer s3cret-s3cret":                   "Authorization: …",
		`{"authorization":"s3cret"}`:                            `{"authorization":"…"}`,
		"bad bearer s3cret.x.y, try again":                      "bad bearer …, try again",
		"postgres://joe:s3cret@h/db, joe:s3cret@h2/db":          "postgres://…@h/db, …@h2/db",
		"unexpected token: EOF":                                 "unexpected token: EOF",
		`{"token":"s3cret","n":1}`:                              `{"token":…,"n":1}`,
		`{"password": "s3 \"cret", "user": "joe"}`:              `{"password": …, "user": "joe"}`,
		`{"keys":{"api_key":["s3cret", "s3]cret"]},"n":1}`:      `{"keys":{"api_key":…,"n":1}`,
		`body "{\"secret\":\"s3cret\"}" refused`:                `body "{\"secret\":… refused`,
		`{'pwd': 's3cret'}`:                                     `{'pwd': …}`,
		"password: s3cret\nuser: joe":                           "password: …\nuser: joe",
		"api_key: s3cret":                                       "api_key: …",
		"access_token: abc":                                     "access_token: …",
		"the token: s3cret, try again":                          "the token: …, try again",
		"X-Api-Key: s3cret":                                     "X-Api-Key: …",
		"x-goog-key: abc":                                       "x-goog-key: …",
		"map[X-Api-Key:[s3cret s3cret] Host:[h]]":               "map[X-Api-Key:… Host:[h]]",
		"map[Authorization:[Basic s3cret=] Host:[h]]":           "map[Authorization:[…] Host:[h]]",
		"{User:joe Password:s3cret Token:abc}":                  "{User:joe Password:… Token:…",
		"Authorization:Bearer s3":                               "Authorization:…",
		"Authorization: Token s3 expired":                       "Authorization: … expired",
		"Cookie: session=s3cret; a=s3cret\r\nHost: h":           "Cookie:…\r\nHost: h",
		"Set-Cookie: SESSION=s3cret":                            "Set-Cookie:…",
		"map[Cookie:[session=s3cret]]":                          "map[Cookie:…",
		"Sec-WebSocket-Protocol: v1, bearer.s3cret":             "Sec-WebSocket-Protocol:…",
		"bad signature: none, auth: failed, ticket: too old":    "bad signature: none, auth: failed, ticket: too old",
		"securecookie: no value, GET /auth: 401":                "securecookie: no value, GET /auth: 401",
		"the author=me, monkey=2, x:y, 12:30, a@b":              "the author=me, monkey=2, x:y, 12:30, a@b",
		"dial tcp 127.0.0.1:80: connect: connection refused":    "dial tcp 127.0.0.1:80: connect: connection refused",
		"lookup h on 1.1.1.1:53: no such host":                  "lookup h on 1.1.1.1:53: no such host",
		"100% of x%20y, a=b":                                    "100% of x%20y, a=b",
		strings.Repeat("x ", 40_000) + "joe:s3cret@h":           strings.Repeat("x ", 32<<10) + "…",
		strings.Repeat("x ", 32<<10-5) + "joe:s3cret-s3cret@h":  strings.Repeat("x ", 32<<10-5) + "…",
	} {
		if got := redact.Hide(in); got != want {
			t.Errorf("%.200q\nbecame %.200q\nnot    %.200q", in, got, want)
		}
	}
}

// The time is linear in the length of the text.
func TestHideIsLinear(t *testing.T) {
	for _, unit := range []string{"a:b@", "%3A%2F%2F", "token=", "://", "@", "a_", "%25", "authorization:", "token:", "token:[", `"token":"`, "cookie:", "x-", `\`} {
		begun := time.Now()
		redact.Hide(strings.Repeat(unit, 64<<10/len(unit))) // a square of the length would take minutes
		if d := time.Since(begun); d > 10*time.Second {
			t.Errorf("%q: %v", unit, d)
		}
	}
}

// A known secret is removed in every encoding.
func TestSet(t *testing.T) {
	var s redact.Set
	s.Add("p&ss w\"rd", "tok", "token-long", "x", "")
	for in, want := range map[string]string{
		"it is p&ss w\"rd.":       "it is ….",
		"q=p%26ss+w%22rd&":        "q=…&",
		"<p&amp;ss w&#34;rd>":     "<…>",
		`{"a":"p\u0026ss w\"rd"}`: `{"a":"…"}`,
		"token-long tok tox x":    "… … tox x",
		"Basic cCZzcyB3InJk":      "Basic …",
		"":                        "",
	} {
		if got := s.Redact(in, false); got != want {
			t.Errorf("%q became %q, not %q", in, got, want)
		}
	}
	if got := s.Redact("the end: token-lo", true); got != "the end: …en-lo" && got != "the end: " {
		t.Errorf("a secret that was cut became %q", got)
	}
	if got := s.Redact("the end: p&ss w", true); got != "the end: " {
		t.Errorf("a secret that was cut became %q", got)
	}
	var none redact.Set
	if got := none.Redact("x", true); got != "x" {
		t.Errorf("without secrets it is %q", got)
	}
}

// FuzzHide: whatever precedes a secret, it is removed.
func FuzzHide(f *testing.F) {
	// The parts of what precedes: random bytes seldom name a key.
	parts := []string{
		"bearer", "authorization", "proxy-authorization", "password", "token", "access_token", "X-Api-Key", "cookie", "sec-websocket-protocol",
		"basic", "digest", "x-", ":", "=", " ", "\n", "\t", `"`, "'", `\`, "[", "]", "{", "}", ",", ";", "&", "<", ">", "@", "/", "?", "#", "%3A%2F%2F", "://", "…",
		"abc", "YTpi", "12345678", "aaaaaaaaaaaaaaaaaaaaaaaa",
	}
	formats := []string{"ws://u:%s@h/", "ws://h/?t=%s", "u:%s@h", "password=%s", `{"token":"%s"}`, "password: %s", "X-Api-Key: %s", "map[X-Api-Key:[%s]]", "Cookie: a=%s", "Authorization: Basic %s", "x%%3A%%2F%%2Fh%%3Ft%%3D%s"}
	for i := range formats {
		f.Add("http://a:b@c?d", []byte{}, i)
		f.Add("%3A%2F%2F%", []byte{12}, i)
		f.Add("bearer", []byte{}, i)
		f.Add("Authorization: Basic YTpi", []byte{15}, i)
		f.Add("token=", []byte{14, 4, 12}, i)
	}
	f.Fuzz(func(t *testing.T, in string, more []byte, format int) {
		const secret = "S3cretS3cret"
		if strings.Contains(in, secret) {
			return
		}
		in = strings.ToValidUTF8(in[:min(len(in), 200)], "?")
		for _, i := range more[:min(len(more), 12)] {
			in += parts[int(i)%len(parts)]
		}
		format %= len(formats)
		for _, between := range []string{" ", "\n"} {
			text := in + between + fmt.Sprintf(formats[max(format, -format)], secret)
			if got := redact.Hide(text); strings.Contains(got, secret) {
				t.Errorf("%q became %q", text, got)
			}
		}
	})
}

func BenchmarkHide(b *testing.B) {
	for name, text := range map[string]string{
		"plain":  "dial tcp 10.0.0.1:443: connect: connection refused after 3 attempts, next in 2s",
		"url":    "Get \"https://joe:secret@example.com/a?token=x\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
		"header": "handshake: 401 Unauthorized: {\"error\":\"invalid token\",\"token\":\"abc\"} Authorization: Bearer abc.def.ghi",
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				redact.Hide(text)
			}
		})
	}
}
