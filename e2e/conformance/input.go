package main

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// seal is the key of request states.
var seal = func() []byte {
	key := make([]byte, 32)
	rand.Read(key) // never fails
	return key
}()

// sealed returns a state that the client can carry and not change.
func sealed(state string) string {
	mac := hmac.New(sha256.New, seal)
	mac.Write([]byte(state))
	return base64.RawURLEncoding.EncodeToString([]byte(state)) + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// opened returns the state in what the client has brought.
func opened(s string) (string, error) {
	state, _, _ := strings.Cut(s, ".")
	data, err := base64.RawURLEncoding.DecodeString(state)
	if err != nil || !hmac.Equal([]byte(sealed(string(data))), []byte(s)) {
		return "", &jsonrpc.Error{Code: jsonrpc.CodeInvalidParams, Message: "requestState: its integrity check failed"}
	}
	return string(data), nil
}

// asks is a result that needs input first.
func asks(state string, requests mcp.InputRequestMap) *mcp.CallToolResult {
	res := &mcp.CallToolResult{InputRequests: requests}
	if state != "" {
		res.RequestState = sealed(state)
	}
	return res
}

// answered returns a text that the user has given to a question.
func answered(responses mcp.InputResponseMap, id, field string) (v string, ok bool) {
	res, ok := responses[id].(*mcp.ElicitResult)
	if !ok || res == nil || res.Action != "accept" {
		return "", false
	}
	v, ok = res.Content[field].(string)
	return v, ok
}

func askName() *mcp.ElicitParams {
	return elicit("What is your name?", `{"name":{"type":"string"}}`, "name")
}

func askOK() *mcp.ElicitParams {
	return elicit("Please confirm", `{"ok":{"type":"boolean"}}`, "ok")
}

// said returns what the client's model has said.
func said(r mcp.InputResponse) (string, bool) {
	switch res := r.(type) {
	case *mcp.CreateMessageResult:
		return spoken(res.Content), true
	case *mcp.CreateMessageWithToolsResult:
		if len(res.Content) > 0 {
			return spoken(res.Content[0]), true
		}
	}
	return "", false
}

// addInputTools adds tools that need something of the client before they can answer.
func addInputTools(s *mcp.Server) {
	add(s, "test_missing_capability", "Needs a client with sampling", "", func(_ context.Context, r *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		if c := r.ClientCapabilities(); c == nil || c.Sampling == nil {
			data, err := json.Marshal(mcp.MissingRequiredClientCapabilityData{RequiredCapabilities: &mcp.ClientCapabilities{Sampling: &mcp.SamplingCapabilities{}}})
			if err != nil {
				return nil, err
			}
			return nil, &jsonrpc.Error{Code: mcp.CodeMissingRequiredClientCapabilities, Message: "sampling is needed", Data: data}
		}
		return result(text("The client has sampling")), nil
	})
	tool := func(name string, call func(r *mcp.CallToolRequest, in mcp.InputResponseMap) (*mcp.CallToolResult, error)) {
		add(s, "test_input_required_result_"+name, "Needs input: "+name, "", func(_ context.Context, r *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			return call(r, r.Params.InputResponses)
		})
	}
	tool("elicitation", func(_ *mcp.CallToolRequest, in mcp.InputResponseMap) (*mcp.CallToolResult, error) {
		if name, ok := answered(in, "user_name", "name"); ok {
			return result(text("Hello, %s!", name)), nil
		}
		return asks("", mcp.InputRequestMap{"user_name": askName()}), nil
	})
	tool("sampling", func(_ *mcp.CallToolRequest, in mcp.InputResponseMap) (*mcp.CallToolResult, error) {
		if v, ok := said(in["capital_question"]); ok {
			return result(text("%s", v)), nil
		}
		return asks("", mcp.InputRequestMap{"capital_question": sampling("What is the capital of France?", 100)}), nil
	})
	tool("list_roots", func(_ *mcp.CallToolRequest, in mcp.InputResponseMap) (*mcp.CallToolResult, error) {
		if res, ok := in["client_roots"].(*mcp.ListRootsResult); ok {
			var all []string
			for _, root := range res.Roots {
				all = append(all, root.URI)
			}
			return result(text("Roots: %s", strings.Join(all, ", "))), nil
		}
		return asks("", mcp.InputRequestMap{"client_roots": &mcp.ListRootsParams{}}), nil
	})
	confirm := func(r *mcp.CallToolRequest, _ mcp.InputResponseMap) (*mcp.CallToolResult, error) {
		if r.Params.RequestState == "" {
			return asks("confirm", mcp.InputRequestMap{"confirm": askOK()}), nil
		}
		if _, err := opened(r.Params.RequestState); err != nil {
			return nil, err
		}
		return result(text("state-ok")), nil
	}
	tool("request_state", confirm)
	tool("tampered_state", confirm)
	tool("multiple_inputs", func(r *mcp.CallToolRequest, in mcp.InputResponseMap) (*mcp.CallToolResult, error) {
		name, named := answered(in, "user_name", "name")
		greeting, greeted := said(in["greeting"])
		_, rooted := in["client_roots"].(*mcp.ListRootsResult)
		if !named || !greeted || !rooted {
			return asks("all", mcp.InputRequestMap{"user_name": askName(), "greeting": sampling("Generate a greeting", 50), "client_roots": &mcp.ListRootsParams{}}), nil
		}
		if _, err := opened(r.Params.RequestState); err != nil {
			return nil, err
		}
		return result(text("%s %s", greeting, name)), nil
	})
	tool("multi_round", func(r *mcp.CallToolRequest, in mcp.InputResponseMap) (*mcp.CallToolResult, error) {
		state := ""
		if r.Params.RequestState != "" {
			var err error
			if state, err = opened(r.Params.RequestState); err != nil {
				return nil, err
			}
		}
		if name, ok := strings.CutPrefix(state, "named "); ok {
			if color, ok := answered(in, "step2", "color"); ok {
				return result(text("%s likes %s", name, color)), nil
			}
		}
		if name, ok := answered(in, "step1", "name"); ok && state == "begun" {
			return asks(fmt.Sprint("named ", name), mcp.InputRequestMap{"step2": elicit("Step 2: What is your favorite color?", `{"color":{"type":"string"}}`, "color")}), nil
		}
		return asks("begun", mcp.InputRequestMap{"step1": elicit("Step 1: What is your name?", `{"name":{"type":"string"}}`, "name")}), nil
	})
	tool("capabilities", func(r *mcp.CallToolRequest, in mcp.InputResponseMap) (*mcp.CallToolResult, error) {
		if len(in) > 0 {
			return result(text("Thank you")), nil
		}
		requests := mcp.InputRequestMap{}
		if c := r.ClientCapabilities(); c != nil {
			if c.Elicitation != nil {
				requests["user_name"] = askName()
			}
			if c.Sampling != nil {
				requests["greeting"] = sampling("Generate a greeting", 50)
			}
		}
		if len(requests) == 0 {
			return result(text("Nothing to ask this client")), nil
		}
		return asks("", requests), nil
	})
}
