package cluster

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/perdure/perdure/cluster"
	"github.com/perdure/perdure/cluster/peer"
	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/store/pgstore"
)

const secret = "a secret of the nodes measured here"

// TestMain runs the benchmarks, or, in a process that one of them has started, a node.
func TestMain(m *testing.M) {
	if dsn := os.Getenv("BENCH_NODE_DSN"); dsn != "" {
		if err := serve(dsn); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// Counter is what is incremented.
type Counter struct{ st *durable.State }

// Add returns the new count.
func (c *Counter) Add(ctx context.Context, by int) (n int, err error) {
	if _, err = c.st.Storage().Get(ctx, "n", &n); err != nil {
		return 0, err
	}
	n += by
	return n, c.st.Storage().Put(ctx, "n", n)
}

// Where returns the node that the object is on.
func (c *Counter) Where(context.Context) (string, error) { return c.st.Var("node"), nil }

// load is a measurement that a node is asked for: a client for each of these objects,
// for as long as Time.
type load struct {
	Objects []int
	Time    time.Duration
}

// serve is a node. It prints where it listens, and ends with SIGTERM.
func serve(dsn string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	peers, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	name := peers.Addr().String()
	var node atomic.Pointer[cluster.Node]
	transport, err := peer.New(peer.Options{Secret: secret, Logger: log, Told: func(msg []byte) { node.Load().Told(msg) }})
	if err != nil {
		return err
	}
	st, err := pgstore.Open(ctx, []string{dsn}, &pgstore.Options{Logger: log, Lost: func(shard uint32, epoch int64) { node.Load().Lost(shard, epoch) }})
	if err != nil {
		return err
	}
	n, err := cluster.New(st, &cluster.Options{Name: name, Peers: transport, Logger: log})
	if err != nil {
		return err
	}
	node.Store(n)
	class := durable.NewClass("Counter", func(_ context.Context, st *durable.State) (*Counter, error) { return &Counter{st}, nil }, nil)
	rt, err := durable.Open(st, &durable.Options{Classes: []durable.Class{class}, Vars: map[string]string{"node": name}, Placement: n, Logger: log})
	if err != nil {
		return err
	}
	go transport.Serve(peers, rt.Peers(), rt.PeerCall)
	n.Start(rt)
	orders, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: front(rt.Namespace("Counter"))}
	go srv.Serve(orders)
	fmt.Println(name, orders.Addr())

	<-ctx.Done()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	began := time.Now()
	err = n.Leave(ctx)
	fmt.Println("left", time.Since(began))
	err = errors.Join(err, srv.Shutdown(ctx), transport.Shutdown(ctx), rt.Shutdown(ctx))
	return errors.Join(err, n.Close(), transport.Close())
}

func counter(ns *durable.Namespace, i int) *durable.Stub { return ns.Named("c" + strconv.Itoa(i)) }

// front takes orders: /load runs one and answers how many increments were done, /where
// tells the node of an object, /time how long calls of one take.
func front(ns *durable.Namespace) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/load", func(w http.ResponseWriter, r *http.Request) {
		var l load
		if err := json.Unmarshal([]byte(r.FormValue("order")), &l); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		var done atomic.Int64
		var failed atomic.Pointer[error]
		var wg sync.WaitGroup
		end := time.Now().Add(l.Time)
		for _, i := range l.Objects {
			wg.Go(func() {
				stub := counter(ns, i)
				for time.Now().Before(end) && failed.Load() == nil {
					if _, err := durable.Call(r.Context(), stub, (*Counter).Add, 1); err != nil {
						failed.Store(&err)
						return
					}
					done.Add(1)
				}
			})
		}
		wg.Wait()
		if err := failed.Load(); err != nil {
			http.Error(w, (*err).Error(), http.StatusInternalServerError)
			return
		}
		fmt.Fprint(w, done.Load())
	})
	mux.HandleFunc("/where", func(w http.ResponseWriter, r *http.Request) {
		i, _ := strconv.Atoi(r.FormValue("i"))
		at, err := durable.Call0(r.Context(), counter(ns, i), (*Counter).Where)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		fmt.Fprint(w, at)
	})
	mux.HandleFunc("/time", func(w http.ResponseWriter, r *http.Request) {
		i, _ := strconv.Atoi(r.FormValue("i"))
		n, _ := strconv.Atoi(r.FormValue("n"))
		stub := counter(ns, i)
		began := time.Now()
		for range n {
			if _, err := durable.Call0(r.Context(), stub, (*Counter).Where); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
		}
		fmt.Fprint(w, time.Since(began).Nanoseconds()/int64(n))
	})
	return mux
}

// process is a node as a benchmark sees it.
type process struct {
	name, orders string
	cmd          *exec.Cmd
	out          *bufio.Reader
}

func start(b *testing.B, dsn string) *process {
	b.Helper()
	p := &process{cmd: exec.Command(os.Args[0])}
	p.cmd.Env = append(os.Environ(), "BENCH_NODE_DSN="+dsn)
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		p.cmd.Process.Kill()
		p.cmd.Wait()
	})
	p.out = bufio.NewReader(out)
	if _, err := fmt.Fscanln(p.out, &p.name, &p.orders); err != nil {
		b.Fatal("a node did not start: ", err)
	}
	return p
}

// ask sends a node an order and returns its answer.
func (p *process) ask(b *testing.B, path string, form url.Values) string {
	resp, err := http.PostForm("http://"+p.orders+path, form)
	if err != nil {
		b.Error(err)
		return ""
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		b.Errorf("%s: %s %s %v", path, resp.Status, text, err)
	}
	return strings.TrimSpace(string(text))
}

// run has the node run a load and returns how many increments it did.
func (p *process) run(b *testing.B, l load) float64 {
	order, err := json.Marshal(l)
	if err != nil {
		b.Error(err)
	}
	return p.number(b, "/load", url.Values{"order": {string(order)}})
}

func (p *process) number(b *testing.B, path string, form url.Values) float64 {
	n, err := strconv.ParseFloat(p.ask(b, path, form), 64)
	if err != nil {
		b.Error(err)
	}
	return n
}

// leave ends a node in good order and returns how long it took to give its shards away.
func (p *process) leave(b *testing.B) time.Duration {
	p.cmd.Process.Signal(syscall.SIGTERM)
	var left, took string
	if _, err := fmt.Fscanln(p.out, &left, &took); err != nil || left != "left" {
		b.Fatalf("a node did not leave: %q %v", left, err)
	}
	d, err := time.ParseDuration(took)
	if err != nil {
		b.Fatal(err)
	}
	return d
}
