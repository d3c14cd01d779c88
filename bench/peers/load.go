package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"
)

// patience is how long an answer may take.
const patience = 30 * time.Second

// load is a closed loop of clients, each over a connection of its own: a client sends its
// next request when the last one is answered. It speaks just enough HTTP/1.1 to cost
// little beside the server, with which it shares the processors.
type load struct {
	addr    string
	clients int
	length  time.Duration // when to send no more; 0: after so many turns
	turns   int           // of each client
	request func(client, turn int) []byte
}

// result is what a load, or all rounds of it, came to.
type result struct {
	answers   int
	elapsed   time.Duration
	latencies []time.Duration // sorted
}

func (r result) rate() float64 { return float64(r.answers) / r.elapsed.Seconds() }

// at is the latency that the given share of the answers did not exceed.
func (r result) at(share float64) time.Duration {
	if len(r.latencies) == 0 {
		return 0
	}
	return r.latencies[min(int(share*float64(len(r.latencies))), len(r.latencies)-1)]
}

// run fails at the first answer that is not 200 OK.
func (l load) run(ctx context.Context) (result, error) {
	conns := make([]*conn, l.clients)
	for i := range conns {
		c, err := dial(ctx, l.addr)
		if err != nil {
			return result{}, err
		}
		defer c.Close()
		conns[i] = c
	}
	took := make([][]time.Duration, l.clients)
	errs := make([]error, l.clients)
	var wg sync.WaitGroup
	begin := time.Now()
	for i, c := range conns {
		wg.Go(func() { took[i], errs[i] = l.client(ctx, c, i, begin) })
	}
	wg.Wait()
	r := result{elapsed: time.Since(begin), latencies: slices.Concat(took...)}
	r.answers = len(r.latencies)
	slices.Sort(r.latencies)
	return r, errors.Join(errs...)
}

func (l load) client(ctx context.Context, c *conn, client int, begin time.Time) (took []time.Duration, err error) {
	sent := begin
	for turn := 0; ctx.Err() == nil; turn++ {
		if l.length > 0 && sent.Sub(begin) >= l.length || l.length == 0 && turn == l.turns {
			return took, nil
		}
		if _, err := c.ask(l.request(client, turn)); err != nil {
			return took, err
		}
		now := time.Now()
		took = append(took, now.Sub(sent))
		sent = now
	}
	return took, context.Cause(ctx)
}

// conn is a connection on which one request at a time is sent and answered.
type conn struct {
	net.Conn
	in   *bufio.Reader
	body []byte // of the last answer
}

func dial(ctx context.Context, addr string) (*conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c, in: bufio.NewReader(c)}, nil
}

// ask sends a request and returns the body of its answer, which is valid until the next.
func (c *conn) ask(request []byte) ([]byte, error) {
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	if _, err := c.Write(request); err != nil {
		return nil, err
	}
	status, err := c.answer()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", bytes.SplitN(request, []byte("\r"), 2)[0], err)
	}
	if status != "200" {
		return nil, fmt.Errorf("%s: status %s: %.200s", bytes.SplitN(request, []byte("\r"), 2)[0], status, c.body)
	}
	return c.body, nil
}

// answer reads one answer, with a length or in chunks.
func (c *conn) answer() (status string, err error) {
	line, err := c.line()
	if err != nil {
		return "", err
	}
	if len(line) < 12 || string(line[:9]) != "HTTP/1.1 " {
		return "", fmt.Errorf("answer begins with %q", line)
	}
	status = string(line[9:12])
	length, chunked := -1, false
	for {
		line, err := c.line()
		if err != nil {
			return "", err
		}
		if len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.Atoi(string(value)); err != nil {
				return "", err
			}
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			chunked = bytes.EqualFold(value, []byte("chunked"))
		}
	}
	c.body = c.body[:0]
	switch {
	case chunked:
		return status, c.chunks()
	case length < 0:
		return "", errors.New("answer without a length")
	}
	return status, c.take(length)
}

func (c *conn) chunks() error {
	for {
		line, err := c.line()
		if err != nil {
			return err
		}
		size, err := strconv.ParseUint(string(line), 16, 31)
		if err != nil {
			return err
		}
		if err := c.take(int(size)); err != nil {
			return err
		}
		if _, err := c.line(); err != nil { // after the last, in place of trailers, which nobody sends here
			return err
		}
		if size == 0 {
			return nil
		}
	}
}

// take appends the next n bytes to the body.
func (c *conn) take(n int) error {
	old := len(c.body)
	c.body = slices.Grow(c.body, n)[:old+n]
	_, err := io.ReadFull(c.in, c.body[old:])
	return err
}

// line is the next one, without its end.
func (c *conn) line() ([]byte, error) {
	line, err := c.in.ReadSlice('\n')
	return bytes.TrimRight(line, "\r\n"), err
}

func get(path string) []byte {
	return fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", path)
}

func post(path, body string) []byte {
	return fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body)
}
