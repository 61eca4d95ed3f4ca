package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// What a call came to. Codes are gRPC's; noAnswer: it may have arrived or not.
const (
	codeOK        = 0
	codeExhausted = 8
	codeAborted   = 10
	codeUnavail   = 14
	noAnswer      = -1
	notSent       = -2
)

// grpcClient makes unary calls over HTTP/2 without TLS: a message each way, five bytes before each.
type grpcClient struct{ http *http.Client }

func newGRPCClient() *grpcClient {
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	return &grpcClient{&http.Client{Transport: &http.Transport{Protocols: &protocols, DialContext: dial}}}
}

func (c *grpcClient) call(address, method string, headers map[string]string, message []byte) ([]byte, int) {
	ctx, cancel := context.WithTimeout(context.Background(), clientTimeout)
	defer cancel()
	frame := append([]byte{0}, binary.BigEndian.AppendUint32(nil, uint32(len(message)))...)
	request, err := http.NewRequestWithContext(ctx, "POST", "http://"+address+"/"+method,
		bytes.NewReader(append(frame, message...)))
	if err != nil {
		return nil, notSent
	}
	request.Header.Set("content-type", "application/grpc")
	request.Header.Set("te", "trailers")
	request.Header.Set("grpc-timeout", strconv.Itoa(int(serverTimeout/time.Millisecond))+"m")
	for name, value := range headers {
		request.Header.Set(name, value)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, transportCode(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, noAnswer
	}
	status := response.Trailer.Get("grpc-status")
	if status == "" {
		status = response.Header.Get("grpc-status")
	}
	code, err := strconv.Atoi(status)
	if err != nil {
		return nil, noAnswer
	}
	if code == codeOK && len(body) < 5 {
		return nil, noAnswer
	}
	if code == codeOK {
		body = body[5:]
	}
	return body, code
}

func transportCode(err error) int {
	if errors.Is(err, errDial) {
		return notSent
	}
	return noAnswer
}

// ---- messages: the few fields that are used ----

func appendBytes(message []byte, field int, value []byte) []byte {
	message = binary.AppendUvarint(message, uint64(field)<<3|2)
	message = binary.AppendUvarint(message, uint64(len(value)))
	return append(message, value...)
}

func appendNumber(message []byte, field int, value uint64) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(message, uint64(field)<<3), value)
}

// eachField calls found with every field of a message; number is that of a varint.
func eachField(message []byte, found func(field int, bytes []byte, number uint64)) error {
	for len(message) > 0 {
		tag, n := binary.Uvarint(message)
		if n <= 0 {
			return fmt.Errorf("a malformed message")
		}
		message = message[n:]
		value, n := binary.Uvarint(message)
		if n <= 0 {
			return fmt.Errorf("a malformed message")
		}
		message = message[n:]
		switch tag & 7 {
		case 0:
			found(int(tag>>3), nil, value)
		case 2:
			if value > uint64(len(message)) {
				return fmt.Errorf("a malformed message")
			}
			found(int(tag>>3), message[:value], 0)
			message = message[value:]
		default:
			return fmt.Errorf("an unexpected wire type %d", tag&7)
		}
	}
	return nil
}
