package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

const maxAnswer = 1 << 20

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
			kind{"demo-slow", 1, hello(c.keepAlive, fmt.Sprint("/demo/hello?delay=", o.delay.Milliseconds()))},
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
