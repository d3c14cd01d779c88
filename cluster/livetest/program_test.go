package livetest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/perdure/perdure/cluster"
	"github.com/perdure/perdure/cluster/peer"
	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/store/pgstore"
)

// lease is that of the nodes under test.
const lease = 2 * time.Second

const secret = "a secret of the nodes under test"

// TestMain runs the tests, or, in a process that the test has started, the program.
func TestMain(m *testing.M) {
	if name := os.Getenv("LIVETEST_NODE"); name != "" {
		if err := program(name); err != nil {
			fmt.Fprintln(os.Stderr, name+":", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// cell is an object that counts and holds a text.
type cell struct{ st *durable.State }

// answer is what an operation returns, and on which node it ran.
type answer struct {
	Count int
	Text  string
	Node  string
}

type operation struct {
	Add   int
	Write bool
	Text  string
}

func (c *cell) Do(ctx context.Context, op operation) (a answer, err error) {
	a.Node = c.st.Var("node")
	if _, err = c.st.Storage().Get(ctx, "count", &a.Count); err != nil {
		return a, err
	}
	if _, err = c.st.Storage().Get(ctx, "text", &a.Text); err != nil {
		return a, err
	}
	if op.Add != 0 {
		a.Count += op.Add
		err = c.st.Storage().Put(ctx, "count", a.Count)
	}
	if op.Write {
		a.Text = op.Text
		err = errors.Join(err, c.st.Storage().Put(ctx, "text", a.Text))
	}
	return a, err
}

// links leads each node to the others by the ways that the test has made for it.
type links struct {
	*peer.Transport
	to map[string]string
}

func (l links) Peer(name string) durable.Peer { return l.Transport.Peer(l.to[name]) }

func (l links) Tell(ctx context.Context, name string, msg []byte) error {
	return l.Transport.Tell(ctx, l.to[name], msg)
}

// program is a node: it serves one class over HTTP until it is told to end.
func program(name string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil)).With("node", name)

	var node atomic.Pointer[cluster.Node]
	transport, err := peer.New(peer.Options{Secret: secret, Logger: log, Told: func(msg []byte) { node.Load().Told(msg) }, DialTimeout: lease / 2, Silence: lease / 2})
	if err != nil {
		return err
	}
	to := make(map[string]string)
	for _, link := range strings.Fields(os.Getenv("LIVETEST_LINKS")) {
		peer, addr, _ := strings.Cut(link, "=")
		to[peer] = addr
	}
	st, err := pgstore.Open(ctx, []string{os.Getenv("LIVETEST_DSN")}, &pgstore.Options{
		Lease: lease, Logger: log,
		Lost: func(shard uint32, epoch int64) { node.Load().Lost(shard, epoch) },
	})
	if err != nil {
		return err
	}
	strict, _ := strconv.ParseBool(os.Getenv("LIVETEST_STRICT"))
	n, err := cluster.New(st, &cluster.Options{Name: name, Peers: links{transport, to}, Strict: strict, Grace: 4 * time.Second, Logger: log})
	if err != nil {
		return err
	}
	node.Store(n)
	class := durable.NewClass("Cell", func(ctx context.Context, st *durable.State) (*cell, error) { return &cell{st}, nil }, nil)
	rt, err := durable.Open(st, &durable.Options{Classes: []durable.Class{class}, Vars: map[string]string{"node": name}, Placement: n, Logger: log})
	if err != nil {
		return err
	}
	peers, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go transport.Serve(peers, rt.Peers(), rt.PeerCall)
	n.Start(rt)
	clients, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: front(rt)}
	go srv.Serve(clients)
	fmt.Printf("ready %s %s\n", peers.Addr(), clients.Addr())

	<-ctx.Done()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	leaving := n.Leave(ctx) // while it goes on serving clients
	err = errors.Join(leaving, srv.Shutdown(ctx), transport.Shutdown(ctx), rt.Shutdown(ctx))
	return errors.Join(err, n.Close(), transport.Close())
}

// front is what clients see. Its status is 200, 503 if the operation certainly did not
// happen, and 502 if it may have.
func front(rt *durable.Runtime) http.Handler {
	cells := rt.Namespace("Cell")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		op := operation{Write: q.Has("text"), Text: q.Get("text")}
		op.Add, _ = strconv.Atoi(q.Get("add"))
		a, err := durable.Call(r.Context(), cells.Named(q.Get("name")), (*cell).Do, op)
		var e *durable.Error
		switch {
		case err == nil:
			fmt.Fprintf(w, "%d %q %s\n", a.Count, a.Text, a.Node)
		case errors.As(err, &e) && e.Retryable:
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		default:
			http.Error(w, err.Error(), http.StatusBadGateway)
		}
	})
}
