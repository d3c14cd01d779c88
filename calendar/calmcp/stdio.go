package calmcp

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
	"net/http/httptrace"
	"strings"
	"sync"
	"time"
)

// StdioOptions configures [ServeStdio]. A zero field means its default.
type StdioOptions struct {
	// Client reaches a [Handler]'s MCP, in this process by [InProcess] or in another. It is needed.
	Client *http.Client

	// URL is that of the endpoint. Default: "http://perdure/mcp".
	URL string

	// Header is added to each request.
	Header http.Header

	// MaxMessageBytes bounds a message of the client. Default: 4 MiB.
	MaxMessageBytes int

	// Patience is how long a server is waited for that can't be reached, while it starts
	// again for instance. Default: 10 s.
	Patience time.Duration
}

// ServeStdio serves one client that speaks newline-delimited JSON-RPC, in any revision: it
// passes on what comes from in to the server that opts.Client reaches, and writes what that
// sends to out, notifications and requests of the server's own included. It returns nil
// after the end of in, when requests under way have been answered, and ctx's error when that
// ends. Then a goroutine may be left that waits for in.
//
// To the server the client is one of Streamable HTTP. What happens to the connection the
// client does not see: streams are resumed, and a session that the server does not know any
// more is begun anew, with its subscriptions.
func ServeStdio(ctx context.Context, in io.Reader, out io.Writer, opts *StdioOptions) error {
	b := &bridge{opts: *opts, out: out, calls: make(map[string]*bridgeCall), kept: make(map[string][]byte)}
	if b.opts.URL == "" {
		b.opts.URL = "http://perdure/mcp"
	}
	orDefault(&b.opts.MaxMessageBytes, 4<<20)
	orDefault(&b.opts.Patience, 10*time.Second)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	b.fail = cancel

	lines := make(chan []byte)
	ended := make(chan error, 1)
	go func() { ended <- b.read(ctx, in, lines) }()
	var err error
	for open := true; open; {
		select {
		case line := <-lines:
			b.dispatch(ctx, line)
		case err = <-ended:
			open = false
		case <-ctx.Done():
			open = false
		}
	}
	b.finish(ctx)
	b.close(ctx)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// bridge is a client of the server on behalf of one on standard input.
type bridge struct {
	opts StdioOptions
	fail context.CancelCauseFunc // ends everything

	outMu sync.Mutex
	out   io.Writer // guarded by outMu

	work sync.WaitGroup // calls under way, but for streams
	ever sync.WaitGroup // streams

	mu      sync.Mutex // guards what follows
	session string
	version string
	begin   []byte // the client's initialize, "" before
	calls   map[string]*bridgeCall
	kept    map[string][]byte // messages to say again in a new session, by what they are about
	stream  context.CancelFunc
	streams bool // the standalone stream is kept open

	renewing sync.Mutex // held while a session is begun anew
}

// bridgeCall is a call under way, by its id.
type bridgeCall struct {
	cancel context.CancelFunc
	sent   chan struct{} // closed when the server has it
	once   sync.Once
	modern bool
}

func (c *bridgeCall) isSent() { c.once.Do(func() { close(c.sent) }) }

// read reads messages.
func (b *bridge) read(ctx context.Context, in io.Reader, lines chan<- []byte) error {
	r := bufio.NewReaderSize(in, 64<<10)
	for {
		line, tooLong, err := readLine(r, b.opts.MaxMessageBytes)
		if tooLong {
			b.writeError(nil, -32600, fmt.Sprintf("The message is longer than %d bytes", b.opts.MaxMessageBytes))
		} else if len(bytes.TrimSpace(line)) > 0 {
			select {
			case lines <- line:
			case <-ctx.Done():
				return nil
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read standard input: %w", err)
		}
	}
}

// readLine reads up to a line's end. Of one over the limit nothing is kept.
func readLine(r *bufio.Reader, limit int) (line []byte, tooLong bool, err error) {
	for {
		part, err := r.ReadSlice('\n')
		if len(line)+len(part) > limit+1 {
			tooLong, line = true, nil
		}
		if !tooLong {
			line = append(line, part...)
		}
		if err != bufio.ErrBufferFull {
			return line, tooLong, err
		}
	}
}

// dispatch passes a message on. Calls run side by side; everything else goes in order.
func (b *bridge) dispatch(ctx context.Context, line []byte) {
	e := openEnvelope(line)
	if len(e.messages) == 0 {
		p := noMessage(line)
		b.writeError(nil, p.code, p.text)
		return
	}
	m := &e.messages[0]
	switch {
	case e.batch:
		b.work.Go(func() { b.send(ctx, line, &message{ID: json.RawMessage("null"), Method: "batch"}, nil) })
	case m.Method == "notifications/cancelled" && b.cancelled(line):
	case e.is("initialize") && m.isCall():
		b.initialize(ctx, line, m)
	case m.isCall():
		b.call(ctx, line, m, e.isStateless(""))
	default:
		if m.Method == "notifications/initialized" {
			b.send(ctx, line, m, nil)
			b.openStream(ctx)
			return
		}
		b.send(ctx, line, m, nil)
	}
}

// cancelled looks at a notification that a call is cancelled. In the revisions without
// sessions that is said by leaving.
func (b *bridge) cancelled(line []byte) (done bool) {
	var n struct {
		Params struct {
			RequestID json.RawMessage `json:"requestId"`
		} `json:"params"`
	}
	if json.Unmarshal(line, &n) != nil {
		return false
	}
	b.mu.Lock()
	c := b.calls[string(n.Params.RequestID)]
	b.mu.Unlock()
	if c == nil {
		return false
	}
	if c.modern {
		c.cancel()
		return true
	}
	<-c.sent // or it would be about nothing
	return false
}

func (b *bridge) initialize(ctx context.Context, line []byte, m *message) {
	b.mu.Lock()
	again := b.begin != nil
	b.mu.Unlock()
	if again { // the server says what it thinks of that
		b.call(ctx, line, m, false)
		return
	}
	resp, err := b.post(ctx, line, m, nil, "")
	if err != nil {
		b.unreachable(m.ID, err)
		return
	}
	var answer []byte
	b.forward(resp, m.ID, func(data []byte) { answer = data; b.write(data) })
	b.begun(resp, line, answer)
}

// begun notes the session that an answer to initialize has begun.
func (b *bridge) begun(resp *http.Response, line, answer []byte) (ok bool) {
	var r struct {
		Result struct {
			ProtocolVersion string `json:"protocolVersion"`
		} `json:"result"`
	}
	session := resp.Header.Get(sessionHeader)
	if resp.StatusCode != http.StatusOK || json.Unmarshal(answer, &r) != nil || session == "" {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.session, b.version, b.begin = session, r.Result.ProtocolVersion, line
	return true
}

// call starts a call.
func (b *bridge) call(ctx context.Context, line []byte, m *message, modern bool) {
	callCtx, cancel := context.WithCancel(ctx)
	c := &bridgeCall{cancel: cancel, sent: make(chan struct{}), modern: modern}
	id := string(m.ID)
	b.mu.Lock()
	b.calls[id] = c
	if !modern {
		b.keepLocked(line, m)
	}
	b.mu.Unlock()
	group := &b.work
	if m.Method == "subscriptions/listen" {
		group = &b.ever
	}
	group.Go(func() {
		defer cancel()
		b.send(callCtx, line, m, c)
		c.isSent()
		b.mu.Lock()
		if b.calls[id] == c {
			delete(b.calls, id)
		}
		b.mu.Unlock()
	})
}

// What is kept for a new session is bounded: the server refuses more subscriptions, and
// longer ones, itself, which the bridge does not look into.
const (
	maxKept     = 1024
	maxKeptLine = 16 << 10
)

// keepLocked remembers what a new session has to be told.
func (b *bridge) keepLocked(line []byte, m *message) {
	var p struct {
		Params struct {
			URI string `json:"uri"`
		} `json:"params"`
	}
	switch m.Method {
	case "logging/setLevel":
		b.kept["level"] = line
	case "resources/subscribe":
		if json.Unmarshal(line, &p) == nil && len(b.kept) < maxKept && len(line) <= maxKeptLine {
			b.kept["uri "+p.Params.URI] = line
		}
	case "resources/unsubscribe":
		if json.Unmarshal(line, &p) == nil {
			delete(b.kept, "uri "+p.Params.URI)
		}
	}
}

// send sends a message and writes what the server answers, until a call is answered. c is
// nil for what is no call.
func (b *bridge) send(ctx context.Context, line []byte, m *message, c *bridgeCall) {
	for again := false; ; again = true {
		session := b.current()
		resp, err := b.post(ctx, line, m, c, session)
		if err != nil {
			if m.isCall() && !(c != nil && c.modern && ctx.Err() != nil) {
				b.unreachable(m.ID, err)
			}
			return
		}
		if resp.StatusCode == http.StatusNotFound && session != "" && (c == nil || !c.modern) && !again {
			discard(resp)
			if b.renew(ctx, session) {
				continue
			}
			b.writeFor(m, -32001, "The session has ended, and no new one could be begun")
			return
		}
		last, answered := b.forward(resp, m.ID, func(data []byte) {
			if c == nil || !c.modern || ctx.Err() == nil { // of what was cancelled nothing is wanted
				b.write(data)
			}
		})
		if c == nil || c.modern || answered || ctx.Err() != nil {
			if c != nil && c.modern && !answered && ctx.Err() == nil && m.Method != "subscriptions/listen" {
				b.writeFor(m, -32000, "The connection to the server was lost before the answer")
			}
			return
		}
		b.resume(ctx, m, session, last)
		return
	}
}

func (b *bridge) current() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.session
}

// resume asks for the rest of a call's stream, which broke off after an event.
func (b *bridge) resume(ctx context.Context, m *message, session, last string) {
	begin := time.Now()
	for last != "" && ctx.Err() == nil {
		resp, err := b.get(ctx, session, last)
		if err == nil && resp.StatusCode == http.StatusOK {
			next, answered := b.forward(resp, m.ID, b.write)
			if answered {
				return
			}
			if next != "" {
				last, begin = next, time.Now()
			}
			err = io.ErrUnexpectedEOF
		}
		if err == nil {
			discard(resp)
			break // the server does not know the stream
		}
		if time.Since(begin) > b.opts.Patience {
			break
		}
		pause(ctx)
	}
	if ctx.Err() == nil {
		b.writeFor(m, -32000, textLost)
	}
}

// retryPause is between attempts to reach a server.
const retryPause = 200 * time.Millisecond

func pause(ctx context.Context) {
	t := time.NewTimer(retryPause)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// post sends a message. While nobody listens it tries again; what changes nothing, also
// when the connection is lost before the answer.
func (b *bridge) post(ctx context.Context, line []byte, m *message, c *bridgeCall, session string) (*http.Response, error) {
	begin := time.Now()
	if c != nil {
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { c.isSent() }})
	}
	for {
		r, err := b.request(ctx, http.MethodPost, line)
		if err != nil {
			return nil, err
		}
		r.Header.Set("Accept", "application/json, text/event-stream")
		r.Header.Set("Content-Type", "application/json")
		if c != nil && c.modern {
			r.Header.Set(versionHeader, m.Params.Meta.Version)
			r.Header.Set("Mcp-Method", m.Method)
			if name := nameOf(line, m.Method); name != "" {
				r.Header.Set("Mcp-Name", name)
			}
		} else if session != "" {
			b.address(r, session)
		}
		resp, err := b.opts.Client.Do(r)
		again := notReached(err) || m.Method != "tools/call"
		if err == nil || ctx.Err() != nil || !again || time.Since(begin) > b.opts.Patience {
			return resp, err
		}
		pause(ctx)
	}
}

// notReached says that a request did not get to a server, so that nothing came of it.
func notReached(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// nameOf returns what the header Mcp-Name has to repeat.
func nameOf(line []byte, method string) string {
	var p struct {
		Params struct {
			Name string `json:"name"`
			URI  string `json:"uri"`
		} `json:"params"`
	}
	_ = json.Unmarshal(line, &p)
	switch method {
	case "tools/call", "prompts/get":
		return p.Params.Name
	case "resources/read":
		return p.Params.URI
	}
	return ""
}

func (b *bridge) get(ctx context.Context, session, last string) (*http.Response, error) {
	r, err := b.request(ctx, http.MethodGet, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", "text/event-stream")
	b.address(r, session)
	if last != "" {
		r.Header.Set(lastEventHeader, last)
	}
	return b.opts.Client.Do(r)
}

func (b *bridge) request(ctx context.Context, method string, body []byte) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, method, b.opts.URL, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for k, v := range b.opts.Header {
		r.Header[k] = v
	}
	return r, nil
}

func (b *bridge) address(r *http.Request, session string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r.Header.Set(sessionHeader, session)
	if b.version != "" {
		r.Header.Set(versionHeader, b.version)
	}
}

// renew begins a session in place of one that the server does not know any more.
func (b *bridge) renew(ctx context.Context, lost string) (ok bool) {
	b.renewing.Lock()
	defer b.renewing.Unlock()
	b.mu.Lock()
	current, begin := b.session, b.begin
	var kept [][]byte
	for _, line := range b.kept {
		kept = append(kept, line)
	}
	b.mu.Unlock()
	if current != lost {
		return true // somebody else has
	}
	if begin == nil {
		return false
	}
	var answer []byte
	m := &message{ID: json.RawMessage("0"), Method: "initialize"}
	resp, err := b.post(ctx, begin, m, nil, "")
	if err != nil {
		return false
	}
	b.forward(resp, nil, func(data []byte) { answer = data })
	if !b.begun(resp, begin, answer) {
		return false
	}
	for _, line := range append([][]byte{[]byte(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)}, kept...) {
		resp, err := b.post(ctx, line, m, nil, b.current())
		if err != nil {
			return false
		}
		b.forward(resp, nil, func([]byte) {}) // the client has had its answer
	}
	return true
}

// openStream keeps the standalone stream open.
func (b *bridge) openStream(ctx context.Context) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.streams || b.session == "" {
		return
	}
	b.streams = true
	ctx, b.stream = context.WithCancel(ctx)
	b.ever.Go(func() { b.listen(ctx) })
}

func (b *bridge) listen(ctx context.Context) {
	last, of := "", "" // an event, and the session that numbered it
	for ctx.Err() == nil {
		session := b.current()
		if session != of {
			last, of = "", session
		}
		resp, err := b.get(ctx, session, last)
		switch {
		case err != nil:
		case resp.StatusCode == http.StatusOK:
			if next, _ := b.forward(resp, nil, b.write); next != "" {
				last = next
			}
		case resp.StatusCode == http.StatusNotFound:
			discard(resp)
			b.renew(ctx, session)
		case resp.StatusCode == http.StatusMethodNotAllowed:
			discard(resp)
			return
		default: // what was missed is not there any more, or the server is busy
			discard(resp)
			last = ""
		}
		pause(ctx)
	}
}

func discard(resp *http.Response) {
	io.CopyN(io.Discard, resp.Body, 64<<10)
	resp.Body.Close()
}

// maxAnswer bounds an answer that is one message, and an event of a stream.
const maxAnswer = 32 << 20

// forward hands on the messages of an answer. It returns the id of the last event, and
// whether the call with the given id was answered, here by an error if need be.
func (b *bridge) forward(resp *http.Response, id json.RawMessage, emit func([]byte)) (last string, answered bool) {
	defer resp.Body.Close()
	if isEventStream(resp.Header) {
		last = readEvents(resp.Body, func(data []byte) {
			if len(id) > 0 && isAnswerTo(data, id) {
				answered = true
			}
			emit(data)
		})
		return last, answered
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err == nil && len(bytes.TrimSpace(body)) == 0 && resp.StatusCode/100 == 2 {
		return "", false
	}
	if len(id) == 0 { // nobody asked
		return "", false
	}
	var m map[string]json.RawMessage
	if err == nil && json.Unmarshal(body, &m) == nil && m["jsonrpc"] != nil && (m["error"] != nil || m["result"] != nil) {
		m["id"] = id
		if data, err := json.Marshal(m); err == nil {
			emit(data)
			return "", true
		}
	}
	text := strings.TrimSpace(string(body[:min(len(body), 500)]))
	if text == "" {
		text = http.StatusText(resp.StatusCode)
	}
	emit(errorMessage(id, -32000, fmt.Sprintf("The server answered %d: %s", resp.StatusCode, text)))
	return "", true
}

func isAnswerTo(data []byte, id json.RawMessage) bool {
	if !isAnswer(data) {
		return false
	}
	var m struct {
		ID json.RawMessage `json:"id"`
	}
	return json.Unmarshal(data, &m) == nil && sameID(m.ID, id)
}

func sameID(a, b json.RawMessage) bool {
	var x, y any
	return bytes.Equal(a, b) || json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && x == y
}

// readEvents hands on the data of a stream's messages. It returns the id of the last event.
func readEvents(in io.Reader, emit func([]byte)) (last string) {
	r := bufio.NewReaderSize(in, 32<<10)
	var data []byte
	id, name := "", ""
	for {
		line, tooLong, err := readLine(r, maxAnswer)
		if err != nil || tooLong {
			return last // an event that is not whole does not count
		}
		line = bytes.TrimRight(line, "\r\n")
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(field) {
		case "id":
			id = string(value)
		case "event":
			name = string(value)
		case "data":
			if len(data) > 0 {
				data = append(data, '\n')
			}
			data = append(data, value...)
		case "":
			if len(line) > 0 {
				continue // a comment
			}
			if id != "" {
				last = id
			}
			if len(data) > 0 && (name == "" || name == "message") {
				emit(data)
			}
			data, id, name = nil, "", ""
		}
	}
}

// write writes a message in one line.
func (b *bridge) write(data []byte) {
	var line bytes.Buffer
	if json.Compact(&line, data) != nil {
		return // not JSON: nothing that the client could read
	}
	line.WriteByte('\n')
	b.outMu.Lock()
	defer b.outMu.Unlock()
	if _, err := b.out.Write(line.Bytes()); err != nil {
		b.fail(fmt.Errorf("write standard output: %w", err))
	}
}

func errorMessage(id json.RawMessage, code int, text string) []byte {
	if len(id) == 0 {
		id = json.RawMessage("null")
	}
	data, _ := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": id, "error": map[string]any{"code": code, "message": text}})
	return data
}

func (b *bridge) writeError(id json.RawMessage, code int, text string) {
	b.write(errorMessage(id, code, text))
}

// writeFor answers a call; other messages get no answer.
func (b *bridge) writeFor(m *message, code int, text string) {
	if m.isCall() {
		b.writeError(m.ID, code, text)
	}
}

const textLost = "The connection to the server was lost before the answer; look whether what was asked has been done, then ask again"

// unreachable answers a call that got no answer. Why, is none of the client's business.
func (b *bridge) unreachable(id json.RawMessage, err error) {
	text := textLost
	if notReached(err) {
		text = "The server can't be reached, and nothing was done; try again later"
	}
	b.writeError(id, -32000, text)
}

// finish waits until calls are answered. Streams have no answer.
func (b *bridge) finish(ctx context.Context) {
	done := make(chan struct{})
	go func() {
		b.work.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		<-done // they end with ctx
	}
	b.mu.Lock()
	if b.stream != nil {
		b.stream()
	}
	for _, c := range b.calls {
		c.cancel()
	}
	b.mu.Unlock()
	b.ever.Wait()
}

// closeTimeout is how long the server may take to end the session.
const closeTimeout = 5 * time.Second

// close ends the session.
func (b *bridge) close(ctx context.Context) {
	session := b.current()
	if session == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	r, err := b.request(ctx, http.MethodDelete, nil)
	if err != nil {
		return
	}
	b.address(r, session)
	if resp, err := b.opts.Client.Do(r); err == nil {
		discard(resp)
	}
}
