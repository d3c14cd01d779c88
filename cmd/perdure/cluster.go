package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/perdure/perdure/cluster"
	"github.com/perdure/perdure/store/pgstore"
)

type clusterCmd struct {
	Status clusterStatusCmd `cmd:"" help:"Show nodes, shards and leases, from the databases."`
	Drain  clusterDrainCmd  `cmd:"" help:"Have a node give its shards to the others, and wait until it has."`
}

type clusterStatusCmd struct {
	Store  string `help:"The databases: postgres://…, several separated by commas." required:"" placeholder:"URL"`
	Shards bool   `help:"Show each shard with its epoch and owner."`
	JSON   bool   `name:"json" help:"Print JSON."`
}

// clusterView is what one database says.
type clusterView struct {
	Database string
	Error    string `json:",omitempty"` // why nothing more is known
	Shards   int
	Free     int          // owned by nobody who could answer
	Epochs   int64        // of all shards together: grows with each change of owner
	Nodes    []nodeView   // that have not ended, or still own shards
	Map      []shardState `json:",omitempty"`
}

type nodeView struct {
	Node        string
	Incarnation int64
	State       string        // serving, draining, silent or ended
	LeaseLeft   time.Duration // as of the database's clock; 0 if it may be ended by others
	Shards      int
	Here        float64 // events a second that it found to belong to itself
	Away        float64 // and to others
}

type shardState struct {
	Shard uint32
	Epoch int64
	Owner int64
}

func (c *clusterStatusCmd) Run(env *environment) error {
	var views []clusterView
	err := withDatabases(env, c.Store, func(st *pgstore.Store) error {
		var unseen int
		for _, d := range st.Databases() {
			v, err := d.ReadMap(env.ctx)
			if err != nil {
				views = append(views, clusterView{Database: d.String(), Error: err.Error()})
				unseen++
				continue
			}
			views = append(views, c.view(d, v))
		}
		if unseen == len(views) {
			return errors.New(views[0].Error)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("cluster status: %w", err)
	}
	if c.JSON {
		out := json.NewEncoder(env.stdout)
		out.SetIndent("", "  ")
		return out.Encode(views)
	}
	for _, v := range views {
		v.print(env.stdout)
	}
	return nil
}

// view counts what a database shows.
func (c *clusterStatusCmd) view(d *pgstore.Database, m pgstore.View) clusterView {
	v := clusterView{Database: d.String(), Shards: len(m.Shards)}
	owned := make(map[int64]int)
	for _, s := range m.Shards {
		owned[s.Owner]++
		v.Epochs += s.Epoch
		if c.Shards {
			v.Map = append(v.Map, shardState(s))
		}
	}
	v.Free = len(m.Shards)
	for _, n := range m.Nodes {
		if n.Ended && owned[n.ID] == 0 {
			continue
		}
		nv := nodeView{Node: n.Name, Incarnation: n.ID, Shards: owned[n.ID], LeaseLeft: max(n.Lease-m.Now.Sub(n.Renewed), 0)}
		switch {
		case n.Ended:
			nv.State, nv.LeaseLeft = "ended", 0
		case nv.LeaseLeft == 0:
			nv.State = "silent"
		case n.Draining:
			nv.State = "draining"
		default:
			nv.State = "serving"
		}
		if !n.Ended {
			v.Free -= nv.Shards
		}
		var r cluster.Report
		if json.Unmarshal(n.Stats, &r) == nil && nv.LeaseLeft > 0 {
			nv.Here, nv.Away = r.Here, r.Away
		}
		v.Nodes = append(v.Nodes, nv)
	}
	slices.SortFunc(v.Nodes, func(a, b nodeView) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.Incarnation, b.Incarnation))
	})
	return v
}

func (v clusterView) print(w io.Writer) {
	if v.Error != "" {
		fmt.Fprintf(w, "%s: %s\n", v.Database, v.Error)
		return
	}
	fmt.Fprintf(w, "%s: %d shards, %d without an owner, sum of epochs %d\n", v.Database, v.Shards, v.Free, v.Epochs)
	out := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(out, "NODE\tINCARNATION\tSTATE\tLEASE LEFT\tSHARDS\tEVENTS/S HERE\tPASSED ON/S")
	for _, n := range v.Nodes {
		fmt.Fprintf(out, "%s\t%d\t%s\t%v\t%d\t%.1f\t%.1f\n", n.Node, n.Incarnation, n.State, n.LeaseLeft.Round(100*time.Millisecond), n.Shards, n.Here, n.Away)
	}
	out.Flush()
	if len(v.Map) == 0 {
		return
	}
	names := make(map[int64]string)
	for _, n := range v.Nodes {
		names[n.Incarnation] = n.Node
	}
	fmt.Fprintln(out, "SHARD\tEPOCH\tOWNER")
	for _, s := range v.Map {
		fmt.Fprintf(out, "%d\t%d\t%s\n", s.Shard, s.Epoch, cmp.Or(names[s.Owner], "-"))
	}
	out.Flush()
}

type clusterDrainCmd struct {
	Node   string `arg:"" help:"The node's --peer-addr."`
	Store  string `help:"The databases: postgres://…, several separated by commas." required:"" placeholder:"URL"`
	Undo   bool   `help:"Let the node take shards again."`
	NoWait bool   `help:"Do not wait until the node has given up its shards."`
}

func (c *clusterDrainCmd) Run(env *environment) error {
	err := withDatabases(env, c.Store, func(st *pgstore.Store) error {
		if err := c.mark(env.ctx, st); err != nil || c.Undo {
			return err
		}
		fmt.Fprintf(env.stderr, "%s is draining.\n", c.Node)
		if c.NoWait {
			return nil
		}
		return c.wait(env, st)
	})
	if err != nil {
		return fmt.Errorf("cluster drain %s: %w", c.Node, err)
	}
	return nil
}

// mark tells the node in every database, if there is another one that can take its shards.
func (c *clusterDrainCmd) mark(ctx context.Context, st *pgstore.Store) error {
	type mark struct {
		d  *pgstore.Database
		id int64
	}
	var marks []mark
	for _, d := range st.Databases() {
		v, err := d.ReadMap(ctx)
		if err != nil {
			return err
		}
		var id int64
		var others []string
		for _, n := range v.Nodes {
			switch {
			case n.Ended:
			case n.Name == c.Node:
				id = max(id, n.ID)
			case !n.Draining && v.Now.Sub(n.Renewed) < n.Lease:
				others = append(others, n.Name)
			}
		}
		switch {
		case id == 0 && len(others) == 0:
			return fmt.Errorf("%s knows no node of that name, and no other", d)
		case id == 0:
			return fmt.Errorf("%s knows no node of that name; there are %s", d, strings.Join(others, ", "))
		case len(others) == 0 && !c.Undo:
			return fmt.Errorf("%s knows no other node that could take its shards", d)
		}
		marks = append(marks, mark{d, id})
	}
	for _, m := range marks {
		if _, err := m.d.SetDraining(ctx, m.id, !c.Undo); err != nil {
			return err
		}
	}
	return nil
}

// wait returns when the node owns nothing.
func (c *clusterDrainCmd) wait(env *environment, st *pgstore.Store) error {
	for {
		left := 0
		for _, d := range st.Databases() {
			v, err := d.ReadMap(env.ctx)
			if err != nil {
				return err
			}
			of := make(map[int64]bool)
			for _, n := range v.Nodes {
				of[n.ID] = n.Name == c.Node && !n.Ended
			}
			for _, s := range v.Shards {
				if of[s.Owner] {
					left++
				}
			}
		}
		if left == 0 {
			fmt.Fprintf(env.stderr, "%s owns no shards.\n", c.Node)
			return nil
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-env.ctx.Done():
			return fmt.Errorf("%d shards are left; it goes on draining: %w", left, env.ctx.Err())
		}
	}
}

// withDatabases opens what is there for as long as f runs.
func withDatabases(env *environment, text string, f func(*pgstore.Store) error) error {
	if !isPostgres(text) {
		return usageError("--store: must be postgres://…")
	}
	ctx, cancel := context.WithTimeout(env.ctx, openPatience)
	defer cancel()
	st, err := pgstore.Open(ctx, splitDatabases(text), nil)
	if err != nil {
		return err
	}
	return errors.Join(f(st), st.Close())
}
