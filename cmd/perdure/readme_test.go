package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// block returns the first block of the README that begins with text.
func block(t *testing.T, text string) string {
	t.Helper()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(readme), "\n"+text)
	body, _, ended := strings.Cut(rest, "\n```")
	if !found || !ended {
		t.Fatalf("README.md has no block that begins with %q", text)
	}
	return text + body
}

// TestReadmeConfig starts what the README's configuration of a client names.
func TestReadmeConfig(t *testing.T) {
	var config struct {
		MCPServers map[string]struct {
			Command string
			Args    []string
		}
	}
	_, text, _ := strings.Cut(block(t, "```json"), "\n")
	if err := json.Unmarshal([]byte(text), &config); err != nil {
		t.Fatal(err)
	}
	server := config.MCPServers["calendar"]
	if server.Command != "perdure" || len(server.Args) != 1 || server.Args[0] != "stdio" {
		t.Fatalf("the configuration starts %q %q, which no test does", server.Command, server.Args)
	}
	s := startStdio(t, t.TempDir(), nil)
	s.initialize()
	if text := s.tool("listCalendars", nil); !strings.Contains(text, `"personal"`) {
		t.Errorf("listCalendars = %s", text)
	}
	s.end()
}

// TestReadmeCurl runs the README's request as it stands, but for the port.
func TestReadmeCurl(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("there is no curl")
	}
	p := start(t, t.TempDir(), nil, serveArgs...)
	line := strings.Replace(block(t, "curl http://127.0.0.1:8787/mcp"), "http://127.0.0.1:8787", p.base, 1)
	cmd := exec.Command("sh", "-c", line)
	cmd.Env = []string{"PATH=" + filepath.Dir(curl)}
	out, err := cmd.Output()
	if err != nil || !strings.Contains(string(out), `"personal"`) || strings.Contains(string(out), `"isError":true`) {
		t.Errorf("%s\n= %s, %v", line, out, err)
	}
}
