package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	maxAnswer = 1 << 20
	addressOf = 5 * time.Second // how long a name's address is used without asking again
)

// oneShot is an empty body that cannot be had again. With it http.Transport repeats no request by itself, not even a GET
// on a connection that the server closes at that moment: it is the client that such a service must not need.
type oneShot struct{ io.Reader }

func (oneShot) Close() error { return nil }

type httpCaller struct{ keepAlive, fresh *http.Client }

func newHTTPCaller() *httpCaller {
	names := &nameCache{known: map[string]cachedName{}}
	client := func(fresh bool) *http.Client {
		return &http.Client{
			Transport: &http.Transport{DialContext: names.dial, MaxIdleConnsPerHost: 64, IdleConnTimeout: 5 * time.Second,
				DisableKeepAlives: fresh},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	return &httpCaller{client(false), client(true)}
}

func (c *httpCaller) close() {
	c.keepAlive.CloseIdleConnections()
	c.fresh.CloseIdleConnections()
}

// call returns the body of an answer with the status that is wanted.
func call(ctx context.Context, client *http.Client, method, url string, header map[string]string, body string,
	wanted int) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, url, oneShot{strings.NewReader(body)})
	if err != nil {
		return nil, err
	}
	request.ContentLength = int64(len(body))
	for name, value := range header {
		request.Header[name] = []string{value}
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, url, err)
	}
	if response.StatusCode != wanted {
		return nil, fmt.Errorf("%s %s: status %d: %.200s", method, url, response.StatusCode, answer)
	}
	return answer, nil
}

func httpKinds(o *options, c *httpCaller, j *journal) []kind {
	hello := func(client *http.Client, path string) func(context.Context, int64) error {
		return func(ctx context.Context, _ int64) error {
			answer, err := call(ctx, client, "GET", "http://"+o.demo+path, nil, "", 200)
			if err == nil && string(answer) != "hello, world!\n" {
				err = fmt.Errorf("demo said %.100q", answer)
			}
			return err
		}
	}
	country := func(client *http.Client) func(context.Context, int64) error {
		return func(ctx context.Context, number int64) error {
			id := fmt.Sprint("user-", number)
			answer, err := call(ctx, client, "GET", "http://"+o.countries+"/countries?user_id="+id, nil, "", 200)
			if err == nil && !strings.Contains(string(answer), `"user_id":"`+id+`"`) {
				err = fmt.Errorf("countries said %.100q", answer)
			}
			return err
		}
	}
	var kinds []kind
	if o.demo != "" {
		kinds = append(kinds, kind{"demo", 3, hello(c.keepAlive, "/demo/hello")},
			kind{"demo-slow", 1, hello(c.keepAlive, "/demo/hello?delay=300")},
			kind{"demo-new", 2, hello(c.fresh, "/demo/hello")})
	}
	if o.countries != "" {
		kinds = append(kinds, kind{"countries", 3, country(c.keepAlive)}, kind{"countries-new", 2, country(c.fresh)})
	}
	if o.notes != "" {
		kinds = append(kinds, kind{"note-create", 3, func(ctx context.Context, number int64) error {
			return createNote(ctx, o, c, j, number)
		}}, kind{"note-read", 3, func(ctx context.Context, _ int64) error {
			one, ok := j.any(&j.notes)
			if !ok {
				return nil
			}
			return readNote(ctx, c.keepAlive, o.notes, one)
		}})
	}
	return kinds
}

type note struct {
	ID    string   `json:"id,omitempty"`
	Title string   `json:"title"`
	Body  string   `json:"body"`
	Tags  []string `json:"tags"`
}

func createNote(ctx context.Context, o *options, c *httpCaller, j *journal, number int64) error {
	title := fmt.Sprintf("%s-%d", o.name, number)
	body, err := json.Marshal(note{Title: title, Body: strings.Repeat("x", 100), Tags: []string{"load"}})
	if err != nil {
		return err
	}
	header := map[string]string{"Content-Type": "application/json", "Idempotency-Key": title}
	answer, err := call(ctx, c.keepAlive, "POST", "http://"+o.notes+"/v1/notes", header, string(body), 201)
	if err != nil {
		return err
	}
	var made note
	if err := json.Unmarshal(answer, &made); err != nil || made.ID == "" || made.Title != title {
		return fmt.Errorf("notes said %.100q", answer)
	}
	return j.add(written{ID: made.ID, Content: title})
}

// readNote fails where the note is not there, or another.
func readNote(ctx context.Context, client *http.Client, address string, one written) error {
	answer, err := call(ctx, client, "GET", "http://"+address+"/v1/notes/"+one.ID, nil, "", 200)
	if err != nil {
		return err
	}
	var found note
	if err := json.Unmarshal(answer, &found); err != nil || found.ID != one.ID || found.Title != one.Content {
		return fmt.Errorf("note %s should be %q: %.100q", one.ID, one.Content, answer)
	}
	return nil
}

// ---- names: what is measured are the services, not the cluster's DNS at every new connection ----

type nameCache struct {
	mutex sync.Mutex
	known map[string]cachedName
}

type cachedName struct {
	address string
	until   time.Time
}

func (n *nameCache) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if host, err = n.find(ctx, host); err != nil {
		return nil, err
	}
	return dialFromOwnPort(ctx, network, net.JoinHostPort(host, port))
}

// The kernel takes source ports at random, and so takes one again that a connection to a dead node has used: a
// Service's address then still means the dead pod to it, for the two minutes that connection tracking remembers a
// handshake nobody answered. Here every connection has a port that none had for longer than that, at the rates at which
// something is cut off: some 100 new connections a second at most.
var lastPort atomic.Uint32

const (
	firstPort      = 1024
	portsPerSecond = 250 // between the beginnings of runs: those that follow each other share none
	portTries      = 4096
)

func init() { lastPort.Store(uint32(time.Now().UnixMilli() * portsPerSecond / 1000 % (1 << 16))) }

func dialFromOwnPort(ctx context.Context, network, address string) (conn net.Conn, err error) {
	for range portTries { // a process that has just ended may have left ports in TIME_WAIT, one beside the other
		port := firstPort + int(lastPort.Add(1)%(1<<16-firstPort))
		dialer := net.Dialer{Timeout: 5 * time.Second, LocalAddr: &net.TCPAddr{Port: port}}
		if conn, err = dialer.DialContext(ctx, network, address); !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
	}
	return conn, err
}

func (n *nameCache) find(ctx context.Context, host string) (string, error) {
	n.mutex.Lock()
	old, found := n.known[host]
	n.mutex.Unlock()
	if net.ParseIP(host) != nil || found && time.Now().Before(old.until) {
		return or(old.address, host), nil
	}
	addresses, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil || len(addresses) == 0 {
		if found { // the last answer is better than none
			return old.address, nil
		}
		return "", err
	}
	n.mutex.Lock()
	defer n.mutex.Unlock()
	n.known[host] = cachedName{addresses[0], time.Now().Add(addressOf)}
	return addresses[0], nil
}

func or(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}
