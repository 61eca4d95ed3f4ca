package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"sync"
)

// written is an acknowledged write: a note (ID) or a place (Latitude, Longitude), and what was written.
type written struct {
	ID        string `json:"id,omitempty"`
	Latitude  int32  `json:"latitude,omitempty"`
	Longitude int32  `json:"longitude,omitempty"`
	Content   string `json:"content"`
}

func (w written) isNote() bool { return w.ID != "" }

// journal keeps every acknowledged write, in a file if it has one, from the moment of its acknowledgement.
type journal struct {
	mutex  sync.Mutex
	file   *os.File // may be nil
	notes  []written
	places []written
	count  int
}

// openJournal goes on with what is in the file already.
func openJournal(path string) (*journal, error) {
	j := &journal{}
	if path == "" {
		return j, nil
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	j.file = file
	before, err := readJournal(file)
	for _, each := range before {
		j.keep(each)
	}
	return j, err
}

func readJournal(in io.Reader) (all []written, err error) {
	decoder := json.NewDecoder(bufio.NewReader(in))
	for {
		var one written
		if err = decoder.Decode(&one); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
}

func (j *journal) keep(one written) {
	if one.isNote() {
		j.notes = append(j.notes, one)
	} else {
		j.places = append(j.places, one)
	}
}

func (j *journal) add(one written) error {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	j.keep(one)
	j.count++
	if j.file == nil {
		return nil
	}
	return json.NewEncoder(j.file).Encode(one)
}

// any is one of the writes, if there are any.
func (j *journal) any(list *[]written) (written, bool) {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	if len(*list) == 0 {
		return written{}, false
	}
	return (*list)[rand.IntN(len(*list))], true
}

func (j *journal) added() int {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	return j.count
}

func (j *journal) close() error {
	if j.file == nil {
		return nil
	}
	return j.file.Close()
}
