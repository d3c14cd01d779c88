package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// Eras of MCP: before and since sessions were given up.
const (
	oldEra = "2025-11-25"
	newEra = "2026-07-28"
)

// process is a server that this program has started.
type process struct {
	hello
	kind string
	args []string
	cmd  *exec.Cmd
	http *http.Client
}

// start starts a server and returns when it says where it is.
func (b *bench) start(ctx context.Context, kind, dir string) (*process, error) {
	p := &process{kind: kind, args: []string{"-serve", kind, "-dir", dir, "-caldav", b.caldav}}
	p.http = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}}
	return p, p.again(ctx)
}

// again starts it once more.
func (p *process) again(ctx context.Context) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	p.cmd = exec.CommandContext(ctx, exe, p.args...)
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := p.cmd.Start(); err != nil {
		return err
	}
	if err := json.NewDecoder(out).Decode(&p.hello); err != nil {
		return fmt.Errorf("%s did not start: %w", p.kind, err)
	}
	return nil
}

// kill ends it without warning.
func (p *process) kill() {
	p.cmd.Process.Signal(syscall.SIGKILL)
	p.cmd.Wait()
	p.http.CloseIdleConnections()
}

func (p *process) memory(ctx context.Context) (u usage, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.Base+"/bench/memory", nil)
	if err != nil {
		return u, err
	}
	resp, err := p.http.Do(req)
	if err != nil {
		return u, err
	}
	defer resp.Body.Close()
	return u, json.NewDecoder(resp.Body).Decode(&u)
}

// client is one client of a server.
type client struct {
	*process
	token   string
	era     string
	session string
}

// connect begins a session, in the older era.
func (p *process) connect(ctx context.Context, era string, i int) (*client, error) {
	c := &client{process: p, token: p.Tokens[i%len(p.Tokens)], era: era}
	if era == newEra {
		return c, nil
	}
	_, err := c.send(ctx, "initialize", `{"protocolVersion":"`+oldEra+`","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}`, "")
	if err == nil {
		_, err = c.send(ctx, "notifications/initialized", `{}`, "")
	}
	return c, err
}

// send sends a message and returns the whole answer. params is a JSON object.
func (c *client) send(ctx context.Context, method, params, name string) ([]byte, error) {
	id := `"id":1,`
	if strings.HasPrefix(method, "notifications/") {
		id = ""
	}
	if c.era == newEra {
		params = strings.TrimSuffix(params, "}") + `,"_meta":{"io.modelcontextprotocol/protocolVersion":"` + newEra + `","io.modelcontextprotocol/clientCapabilities":{}}}`
	}
	body := `{"jsonrpc":"2.0",` + id + `"method":"` + method + `","params":` + params + `}`
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.Base+"/mcp", strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	h := req.Header
	h.Set("Content-Type", "application/json")
	h.Set("Accept", "application/json, text/event-stream")
	if method != "initialize" {
		h.Set("Mcp-Protocol-Version", c.era)
	}
	if c.era == newEra {
		h.Set("Mcp-Method", method)
		h.Set("Mcp-Name", name)
	}
	if c.session != "" {
		h.Set("Mcp-Session-Id", c.session)
	}
	if c.token != "" {
		h.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return nil, err
	case resp.StatusCode/100 != 2:
		return nil, fmt.Errorf("%s: %s: %s", method, resp.Status, data)
	case bytes.Contains(data, []byte(`"error":{`)), bytes.Contains(data, []byte(`"isError":true`)):
		return nil, fmt.Errorf("%s: %s", method, data)
	}
	if method == "initialize" {
		c.session = resp.Header.Get("Mcp-Session-Id")
	}
	return data, nil
}

func (c *client) tool(ctx context.Context, name, arguments string) ([]byte, error) {
	return c.send(ctx, "tools/call", `{"name":"`+name+`","arguments":`+arguments+`}`, name)
}

// listen opens the session's stream, on a connection with as little memory as can be.
func (c *client) listen() (net.Conn, error) {
	address := strings.TrimPrefix(c.Base, "http://")
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	auth := ""
	if c.token != "" {
		auth = "Authorization: Bearer " + c.token + "\r\n"
	}
	_, err = fmt.Fprintf(conn, "GET /mcp HTTP/1.1\r\nHost: %s\r\n%sMcp-Session-Id: %s\r\nMcp-Protocol-Version: %s\r\nAccept: text/event-stream\r\n\r\n", address, auth, c.session, c.era)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	status, err := bufio.NewReaderSize(conn, 64).ReadString('\n')
	if err == nil && !strings.Contains(status, " 200 ") {
		err = errors.New("stream: " + status)
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}
