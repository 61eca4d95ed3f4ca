// load puts a constant rate of requests on the services, whatever they answer (an open loop), and says what came of each.
//
//	load run -rate N [-seconds S] TARGETS    until S seconds have passed or standard input ends; a JSON line a second on
//	                                         standard output, and at the end the report
//	load verify -journal FILE TARGETS        reads every acknowledged write from every address of the targets
//	load probe ADDRESS...                    says which of them take a connection
//	load signal PID NUMBER                   sends a signal, to a process of the container whose PID namespace this one shares
//	load hold                                does nothing until SIGTERM: the main process of a pod that the others run in
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// targets are addresses, or names that stand for several.
type targets struct{ demo, countries, notes, guide, store string }

type options struct {
	targets
	rate    float64
	seconds int
	timeout time.Duration
	delay   time.Duration
	retry   int
	journal string
	records string
	only    string
	name    string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if len(os.Args) < 2 {
		usage()
	}
	var err error
	switch os.Args[1] {
	case "run":
		err = run(ctx, parse("run", os.Args[2:]))
	case "verify":
		err = verify(ctx, parse("verify", os.Args[2:]))
	case "probe":
		err = probe(ctx, os.Args[2:])
	case "signal":
		err = sendSignal(os.Args[2:])
	case "hold":
		<-ctx.Done()
	default:
		usage()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func usage() {
	fmt.Fprintln(os.Stderr, "usage: load run|verify|probe|signal|hold [OPTION...]; load run -help")
	os.Exit(2)
}

func parse(command string, arguments []string) *options {
	o := &options{}
	set := flag.NewFlagSet(command, flag.ExitOnError)
	set.StringVar(&o.demo, "demo", "", "HOST:PORT of demo; a target that is not given gets no requests")
	set.StringVar(&o.countries, "countries", "", "HOST:PORT of countries")
	set.StringVar(&o.notes, "notes", "", "HOST:PORT of notes")
	set.StringVar(&o.guide, "guide", "", "HOST:PORT of route-guide")
	set.StringVar(&o.store, "store", "", "HOST:PORT of feature-store")
	set.StringVar(&o.journal, "journal", "", "file of the acknowledged writes: added to, or read")
	if command == "run" {
		set.Float64Var(&o.rate, "rate", 100, "requests a second, all targets together")
		set.IntVar(&o.seconds, "seconds", 3600, "how long at most; the end of standard input ends it, too")
		set.DurationVar(&o.timeout, "timeout", 5*time.Second, "for a request; beyond it has failed")
		set.DurationVar(&o.delay, "delay", 300*time.Millisecond, "that demo waits before it answers demo-slow")
		set.IntVar(&o.retry, "retry", 0, "so many times is a failed attempt repeated within the timeout")
		set.StringVar(&o.records, "records", "", "file for a line about each request")
		set.StringVar(&o.only, "only", "", "kinds of requests, separated by commas; default: all of the targets")
		set.StringVar(&o.name, "name", "", "begins what is written, so that runs differ; default: the time")
	}
	_ = set.Parse(arguments)
	if set.NArg() > 0 || command == "run" && (o.rate <= 0 || o.rate > 10000 || o.seconds < 1 || o.seconds > 3600) {
		set.Usage()
		os.Exit(2)
	}
	if o.name == "" {
		o.name = time.Now().UTC().Format("150405.000")
	}
	return o
}

func run(ctx context.Context, o *options) error {
	journal, err := openJournal(o.journal)
	if err != nil {
		return err
	}
	kinds, closeKinds, err := newKinds(ctx, o, journal)
	if err != nil {
		return err
	}
	defer closeKinds()
	recorder, err := newRecorder(o, os.Stdout)
	if err != nil {
		return err
	}
	ctx, stop := context.WithTimeout(ctx, time.Duration(o.seconds)*time.Second)
	defer stop()
	go func() { // whoever started this has gone, or wants the report
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	drive(ctx, o, kinds, recorder)
	report := recorder.finish()
	report.Acknowledged = journal.added()
	if err := journal.close(); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{"report": report})
}

// chosen says whether a kind of request is wanted.
func (o *options) chosen(name string) bool {
	if o.only == "" {
		return true
	}
	for _, each := range strings.Split(o.only, ",") {
		if each == name {
			return true
		}
	}
	return false
}

// known are the names of all kinds of requests.
var known = []string{"demo", "demo-slow", "demo-new", "countries", "countries-new", "note-create", "note-read",
	"guide-get", "guide-list", "store-save", "store-get", "store-chat"}

// unknown is a name among those that are wanted which no kind has.
func (o *options) unknown() string {
	for _, each := range strings.Split(o.only, ",") {
		if each != "" && !slices.Contains(known, each) {
			return each
		}
	}
	return ""
}
