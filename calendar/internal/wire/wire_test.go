package wire

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/perdure/perdure/durable"
)

func TestParam(t *testing.T) {
	for query, want := range map[string]string{
		"":                      "",
		"id=":                   "",
		"id":                    "",
		"ID=x":                  "",
		"id=a&id=b":             "a",
		"x=1&&id=a":             "a",
		"&id=a":                 "a",
		"id=&id=b":              "",
		"id=a=b":                "a=b",
		"id=a+b%20c%2B":         "a b c+",
		"%69d=x":                "x",
		"id=a;b":                "a;b",
		"a;id=b":                "",
		"id=%":                  "%",
		"id=%zz%41%4":           "%zzA%4",
		"id=%%41":               "%A",
		"id=%c3%bc%F0%9F%98%80": "ü😀",
		"id=%ff":                "\xff",
		"id=%zz%ff":             "%zz\xff",
		"id=%00":                "\x00",
	} {
		r := &http.Request{URL: &url.URL{RawQuery: query}}
		if got := Param(r, "id"); got != want {
			t.Errorf("Param of %q = %q, want %q", query, got, want)
		}
	}
}

func TestPath(t *testing.T) {
	for _, path := range []string{"/create", "/%63reate", "/a%2Fb/c", "//a/../b", "/a;b", "/a%20b", "/ü", "/"} {
		u, err := url.Parse("http://do" + path)
		if err != nil {
			t.Fatal(err)
		}
		if got := Path(&http.Request{URL: u}); got != path && got != u.EscapedPath() {
			t.Errorf("Path of %q = %q", path, got)
		}
	}
	if got := Path(&http.Request{URL: &url.URL{Path: "/%zz", RawPath: "/%zz"}}); got != "/%zz" {
		t.Errorf("Path of a bad escape = %q, want it as sent", got)
	}
}

func TestReadJSON(t *testing.T) {
	for _, tt := range []struct {
		name, body string
		status     int
		text       string
	}{
		{"fine", `{"a":1}`, 0, ""},
		{"empty", "", 400, "Invalid JSON"},
		{"broken", "{", 400, "Invalid JSON"},
		{"deep", strings.Repeat("[", 2000) + strings.Repeat("]", 2000), 400, "JSON nested too deeply, limit 512"},
		{"at the limit", `"` + strings.Repeat("x", MaxBody-2) + `"`, 0, ""},
		{"over the limit", `"` + strings.Repeat("x", MaxBody-1) + `"`, 413, "Request body too large"},
	} {
		r := httptest.NewRequest("POST", "/", strings.NewReader(tt.body))
		v, err := ReadJSON(r)
		if tt.status == 0 {
			if err != nil || string(v) != tt.body {
				t.Errorf("%s: ReadJSON: %v", tt.name, err)
			}
			continue
		}
		var p *Problem
		if !errors.As(err, &p) || p.Status != tt.status || p.Text != tt.text {
			t.Errorf("%s: ReadJSON = %v, want status %d, %s", tt.name, err, tt.status, tt.text)
		}
	}
}

func TestFail(t *testing.T) {
	for _, tt := range []struct {
		err    error
		status int
		body   string
	}{
		{BadRequest(`a "b"`), 400, `{"error":"a \"b\""}`},
		{fmt.Errorf("save: %w", &durable.LimitError{Err: durable.ErrValueTooLarge, Limit: 10, Size: 11}), 413, `{"error":"Too large to store","limit":10,"size":11}`},
		{fmt.Errorf("save: %w", durable.ErrQuotaExceeded), 507, `{"error":"Storage quota exceeded"}`},
		{errors.New("inner"), 500, `{"error":"Failed to try"}`},
	} {
		w := httptest.NewRecorder()
		Fail(w, tt.err, "Failed to try")
		if w.Code != tt.status || w.Body.String() != tt.body {
			t.Errorf("Fail(%v) = %d %s, want %d %s", tt.err, w.Code, w.Body, tt.status, tt.body)
		}
		if got := w.Header().Get("Content-Type"); got != "application/json" {
			t.Errorf("Fail(%v): Content-Type %q", tt.err, got)
		}
	}
}
