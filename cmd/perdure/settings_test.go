package main

import (
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"
)

func fromVars(vars map[string]string) *config {
	return &config{getenv: func(name string) (string, bool) { v, ok := vars[name]; return v, ok }}
}

func TestSettings(t *testing.T) {
	cfg := fromVars(map[string]string{
		"PERDURE_ALLOWED_HOSTS": "a.example, b.example:80  c.example", "PERDURE_ALLOWED_ORIGINS": "https://a.example,http://localhost:3000",
		"PERDURE_RATE_LIMIT": "2.5", "KEEP_ALIVE_INTERVAL": "15000", "LOG_LEVEL": "WARN", "DEBUG_MODE": "true", "CACHE_TTL": "3s",
	})
	if err := cfg.readSettings(); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(cfg.allowedHosts, []string{"a.example", "b.example:80", "c.example"}) || len(cfg.allowedOrigins) != 2 ||
		cfg.rate != 2.5 || cfg.keepAlive != 15*time.Second || cfg.logLevel != slog.LevelWarn || cfg.ttl != 3*time.Second {
		t.Errorf("settings = %+v", cfg)
	}
	for _, c := range []struct {
		vars      map[string]string
		rate      float64
		keepAlive time.Duration
		level     slog.Level
	}{
		{nil, 0, 0, slog.LevelInfo},
		{map[string]string{"DEBUG_MODE": "true"}, 0, 0, slog.LevelDebug},
		{map[string]string{"DEBUG_MODE": "false"}, 0, 0, slog.LevelInfo},
		{map[string]string{"PERDURE_RATE_LIMIT": "0", "KEEP_ALIVE_INTERVAL": "0", "LOG_LEVEL": "error"}, -1, -1, slog.LevelError},
	} {
		cfg := fromVars(c.vars)
		if err := cfg.readSettings(); err != nil || cfg.rate != c.rate || cfg.keepAlive != c.keepAlive || cfg.logLevel != c.level {
			t.Errorf("settings of %v = %v, %v, %v, %v", c.vars, cfg.rate, cfg.keepAlive, cfg.logLevel, err)
		}
	}
}

func TestLocalZone(t *testing.T) {
	for tz, want := range map[string]string{"Asia/Tokyo": "Asia/Tokyo", ":Europe/Berlin": "Europe/Berlin", "UTC": "UTC", "": "<nil>", "Nowhere/Land": "<nil>", "/etc/localtime": "<nil>", "Local": "<nil>"} {
		got := "<nil>"
		if zone := fromVars(map[string]string{"TZ": tz}).localZone(); zone != nil {
			got = zone.String()
		}
		if got != want {
			t.Errorf("localZone with TZ=%q = %s, want %s", tz, got, want)
		}
	}
}

// TestServerVariables has the variables of the server that this one replaces.
func TestServerVariables(t *testing.T) {
	dir := t.TempDir()
	p := start(t, dir, []string{"PORT=0", "SERVER_NAME=mine", "SERVER_VERSION=9.9", "NODE_ENV=production", "LOG_LEVEL=debug", "KEEP_ALIVE_INTERVAL=100",
		"PERDURE_ALLOWED_ORIGINS=https://app.example", "PERDURE_ALLOWED_HOSTS=cal.example"}, "serve", "--store", "memory:")
	c := p.mcp(sessions, "")
	if heard := c.heard.String(); !strings.Contains(heard, `"name":"mine"`) || !strings.Contains(heard, `"version":"9.9"`) {
		t.Errorf("initialize = %s", heard)
	}
	if _, body := p.do("GET", "/health", ""); !strings.Contains(body, `"environment":"production"`) {
		t.Errorf("/health = %s", body)
	}
	if _, ok := until(c.open("/mcp"), ":"); !ok { // a comment: nothing else is to be said
		t.Error("no sign of life on a quiet stream")
	}
	if resp := p.response("GET", "/api/calendars", "Origin", "https://app.example"); resp.StatusCode != 200 || resp.Header.Get("Access-Control-Allow-Origin") != "https://app.example" {
		t.Errorf("/api/calendars from an allowed origin = %d %v", resp.StatusCode, resp.Header)
	}
	p.stop()
	if !strings.Contains(p.stderr.String(), "level=DEBUG") {
		t.Error("no debug log")
	}
}

// TestCommandOnTheSameData names the data in a command that is proposed, and no password.
func TestCommandOnTheSameData(t *testing.T) {
	for want, flags := range map[string]dataFlags{
		"":                 {},
		" --data=.perdure": {Data: localFolder},
		" --data='/my data' --config=a/wrangler.toml --env=x": {Data: "/my data", Config: "a/wrangler.toml", Env: "x"},
		` --store='pebble:it'\''s'`:                           {Store: "pebble:it's"},
		" --store=postgres://db/a,postgres://db/b":            {Store: "postgres://db/a,postgres://db/b"},
		" --store=URL":          {Store: "postgres://u:s3cret@db/a"},
		" --data=d --store=URL": {Data: "d", Store: "postgres://db/a?password=s3cret"},
	} {
		if got := flags.command("users add NAME"); got != "perdure users add NAME"+want {
			t.Errorf("command on %+v = %s, want %s", flags, got, want)
		}
	}
	var served dataFlags
	served.serverFolder()
	if got := served.command("users list"); got != "perdure users list" {
		t.Errorf("command on what serve takes by itself = %s, want no flags", got)
	}
}

func TestGreetingOfUsers(t *testing.T) {
	dir := t.TempDir()
	for store, want := range map[string]string{
		memoryStore:   "(CalDAV; user me)\n",
		"pebble:here": "(CalDAV; user me until there are others: perdure users add NAME --store=pebble:here)\n",
	} {
		p := start(t, dir, nil, "serve", "--addr", "127.0.0.1:0", "--store", store)
		p.stop()
		if out := p.stdout.String(); !strings.Contains(out, want) {
			t.Errorf("serve --store %s greets with %s, want %q", store, out, want)
		}
	}
}
