//! interop ADDRESS CASE -- runs one case of gRPC's interop tests against the server at http://ADDRESS.

use std::error::Error;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::StreamExt;
use tonic::codec::CompressionEncoding::Gzip;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::transport::Channel;
use tonic::{Code, Request, Status, Streaming};

mod pb {
    tonic::include_proto!("grpc.testing");
}
use pb::test_service_client::TestServiceClient;
use pb::unimplemented_service_client::UnimplementedServiceClient;

type Client = TestServiceClient<Channel>;
type Outcome = Result<(), Box<dyn Error>>;

const REQUEST_SIZES: [usize; 4] = [27182, 8, 1828, 45904];
const RESPONSE_SIZES: [i32; 4] = [31415, 9, 2653, 58979];
const LARGE_REQUEST: usize = 271828;
const LARGE_RESPONSE: i32 = 314159;
const INITIAL: &str = "x-grpc-test-echo-initial";
const INITIAL_VALUE: &str = "test_initial_metadata_value";
const TRAILING: &str = "x-grpc-test-echo-trailing-bin";
const TRAILING_VALUE: &[u8] = &[0xab, 0xab, 0xab];

/// A failure with a text, where the condition does not hold.
macro_rules! ensure {
    ($condition:expr, $($text:tt)*) => {
        if !$condition {
            return Err(format!($($text)*).into());
        }
    };
}

fn zeros(size: usize) -> Option<pb::Payload> {
    Some(pb::Payload {
        r#type: 0,
        body: vec![0; size],
    })
}

fn flag(value: bool) -> Option<pb::BoolValue> {
    Some(pb::BoolValue { value })
}

fn large() -> pb::SimpleRequest {
    pb::SimpleRequest {
        response_size: LARGE_RESPONSE,
        payload: zeros(LARGE_REQUEST),
        ..Default::default()
    }
}

fn asking(size: i32, request_size: usize) -> pb::StreamingOutputCallRequest {
    pb::StreamingOutputCallRequest {
        response_parameters: vec![pb::ResponseParameters {
            size,
            ..Default::default()
        }],
        payload: zeros(request_size),
        ..Default::default()
    }
}

fn size_of(payload: Option<pb::Payload>) -> usize {
    payload.map_or(0, |payload| payload.body.len())
}

fn check_large(response: &pb::SimpleResponse) -> Outcome {
    let size = size_of(response.payload.clone());
    ensure!(size == LARGE_RESPONSE as usize, "a payload of {size} bytes");
    Ok(())
}

fn check_status<T>(result: Result<T, Status>, code: Code, message: Option<&str>) -> Outcome {
    let status = result.err().unwrap_or_else(|| Status::ok(""));
    ensure!(status.code() == code, "{status}, not {code:?}");
    ensure!(
        message.is_none_or(|message| status.message() == message),
        "message {:?}",
        status.message()
    );
    Ok(())
}

async fn next_size(
    stream: &mut Streaming<pb::StreamingOutputCallResponse>,
) -> Result<usize, Box<dyn Error>> {
    let response = stream
        .message()
        .await?
        .ok_or("the stream has ended early")?;
    Ok(size_of(response.payload))
}

async fn large_unary(mut client: Client) -> Outcome {
    check_large(client.unary_call(large()).await?.get_ref())
}

async fn client_streaming(mut client: Client) -> Outcome {
    let requests = REQUEST_SIZES.map(|size| pb::StreamingInputCallRequest {
        payload: zeros(size),
        ..Default::default()
    });
    let response = client
        .streaming_input_call(tokio_stream::iter(requests))
        .await?;
    let sum = response.get_ref().aggregated_payload_size;
    ensure!(sum == 74922, "a sum of {sum}");
    Ok(())
}

async fn check_server_stream(mut client: Client, compressed: Option<[bool; 4]>) -> Outcome {
    let response_parameters = (0..4)
        .map(|i| pb::ResponseParameters {
            size: RESPONSE_SIZES[i],
            interval_us: 0,
            compressed: compressed.and_then(|each| flag(each[i])),
        })
        .collect();
    let request = pb::StreamingOutputCallRequest {
        response_parameters,
        ..Default::default()
    };
    let response = client.streaming_output_call(request).await?;
    if compressed.is_some() {
        check_encoding(response.metadata())?;
    }
    let mut stream = response.into_inner();
    for expected in RESPONSE_SIZES {
        let size = next_size(&mut stream).await?;
        ensure!(
            size == expected as usize,
            "a payload of {size} bytes, not {expected}"
        );
    }
    ensure!(
        stream.message().await?.is_none(),
        "more responses than asked for"
    );
    Ok(())
}

async fn ping_pong(mut client: Client) -> Outcome {
    let (requests, receiver) = mpsc::channel(1);
    requests
        .send(asking(RESPONSE_SIZES[0], REQUEST_SIZES[0]))
        .await?;
    let mut stream = client
        .full_duplex_call(ReceiverStream::new(receiver))
        .await?
        .into_inner();
    for i in 0..4 {
        if i > 0 {
            requests
                .send(asking(RESPONSE_SIZES[i], REQUEST_SIZES[i]))
                .await?;
        }
        let size = next_size(&mut stream).await?;
        ensure!(
            size == RESPONSE_SIZES[i] as usize,
            "a payload of {size} bytes"
        );
    }
    drop(requests);
    ensure!(
        stream.message().await?.is_none(),
        "more responses than asked for"
    );
    Ok(())
}

async fn empty_stream(mut client: Client) -> Outcome {
    let mut stream = client
        .full_duplex_call(tokio_stream::empty())
        .await?
        .into_inner();
    ensure!(stream.message().await?.is_none(), "a response to nothing");
    Ok(())
}

fn with_metadata<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request
        .metadata_mut()
        .insert(INITIAL, INITIAL_VALUE.parse().unwrap());
    request
        .metadata_mut()
        .insert_bin(TRAILING, MetadataValue::from_bytes(TRAILING_VALUE));
    request
}

fn check_initial(metadata: &MetadataMap) -> Outcome {
    let found = metadata.get(INITIAL);
    ensure!(
        found.is_some_and(|value| value == INITIAL_VALUE),
        "{INITIAL}: {found:?}"
    );
    Ok(())
}

fn check_trailing(metadata: &MetadataMap) -> Outcome {
    let found = metadata.get_bin(TRAILING).map(|value| value.to_bytes());
    ensure!(
        found
            .as_ref()
            .is_some_and(|value| value.as_ref().is_ok_and(|bytes| bytes == TRAILING_VALUE)),
        "{TRAILING}: {found:?}"
    );
    Ok(())
}

async fn custom_metadata(mut client: Client) -> Outcome {
    let response = client.unary_call(with_metadata(large())).await?;
    check_initial(response.metadata())?;
    check_trailing(response.metadata())?; // tonic adds a unary response's trailers to its metadata
    let requests = with_metadata(tokio_stream::iter([asking(LARGE_RESPONSE, LARGE_REQUEST)]));
    let response = client.full_duplex_call(requests).await?;
    check_initial(response.metadata())?;
    let mut stream = response.into_inner();
    while stream.message().await?.is_some() {}
    check_trailing(&stream.trailers().await?.ok_or("no trailers")?)
}

async fn check_echoed_status(mut client: Client, message: &str, with_stream: bool) -> Outcome {
    let status = Some(pb::EchoStatus {
        code: Code::Unknown as i32,
        message: message.into(),
    });
    let request = pb::SimpleRequest {
        response_status: status.clone(),
        ..Default::default()
    };
    check_status(
        client.unary_call(request).await,
        Code::Unknown,
        Some(message),
    )?;
    if with_stream {
        let request = pb::StreamingOutputCallRequest {
            response_status: status,
            ..Default::default()
        };
        let result = match client.full_duplex_call(tokio_stream::iter([request])).await {
            Ok(response) => response.into_inner().message().await,
            Err(status) => Err(status),
        };
        check_status(result, Code::Unknown, Some(message))?;
    }
    Ok(())
}

/// Dropping a call cancels it; the connection has to go on serving.
async fn cancel_after_begin(mut client: Client) -> Outcome {
    let mut other = client.clone();
    let call = client.streaming_input_call(tokio_stream::pending());
    ensure!(
        tokio::time::timeout(Duration::from_millis(50), call)
            .await
            .is_err(),
        "the call has ended"
    );
    large_unary(other.clone()).await?;
    other.empty_call(pb::Empty {}).await?;
    Ok(())
}

async fn cancel_after_first_response(mut client: Client) -> Outcome {
    let requests = tokio_stream::once(asking(RESPONSE_SIZES[0], REQUEST_SIZES[0]))
        .chain(tokio_stream::pending());
    let mut stream = client.full_duplex_call(requests).await?.into_inner();
    ensure!(
        next_size(&mut stream).await? == RESPONSE_SIZES[0] as usize,
        "another size"
    );
    drop(stream);
    large_unary(client).await
}

async fn timeout_on_sleeping_server(mut client: Client) -> Outcome {
    let request = pb::StreamingOutputCallRequest {
        payload: zeros(27182),
        ..Default::default()
    };
    let mut requests = Request::new(tokio_stream::once(request).chain(tokio_stream::pending()));
    requests.set_timeout(Duration::from_millis(1));
    let result = match client.full_duplex_call(requests).await {
        Ok(response) => response.into_inner().message().await.map(|_| ()),
        Err(status) => Err(status),
    };
    // tonic reports a deadline of its own as CANCELLED.
    let code = result.as_ref().err().map(Status::code);
    ensure!(
        matches!(code, Some(Code::DeadlineExceeded | Code::Cancelled)),
        "{result:?}"
    );
    Ok(())
}

fn check_encoding(metadata: &MetadataMap) -> Outcome {
    let found = metadata.get("grpc-encoding");
    ensure!(
        found.is_some_and(|value| value == "gzip"),
        "grpc-encoding: {found:?}"
    );
    Ok(())
}

/// The server must see that the first message is not compressed although it should be.
async fn client_compressed_unary(client: Client) -> Outcome {
    let (mut plain, mut compressed) = (client.clone(), client.send_compressed(Gzip));
    let expecting = |value| pb::SimpleRequest {
        expect_compressed: flag(value),
        ..large()
    };
    check_status(
        plain.unary_call(expecting(true)).await,
        Code::InvalidArgument,
        None,
    )?;
    check_large(compressed.unary_call(expecting(true)).await?.get_ref())?;
    check_large(plain.unary_call(expecting(false)).await?.get_ref())
}

/// tonic compresses all messages of a call or none: so a call of each.
async fn client_compressed_streaming(client: Client) -> Outcome {
    let (mut plain, mut compressed) = (client.clone(), client.send_compressed(Gzip));
    let expecting = |value| {
        tokio_stream::iter([27182, 45904].map(|size| pb::StreamingInputCallRequest {
            payload: zeros(size),
            expect_compressed: flag(value),
        }))
    };
    check_status(
        plain.streaming_input_call(expecting(true)).await,
        Code::InvalidArgument,
        None,
    )?;
    for response in [
        compressed.streaming_input_call(expecting(true)).await?,
        plain.streaming_input_call(expecting(false)).await?,
    ] {
        let sum = response.get_ref().aggregated_payload_size;
        ensure!(sum == 73086, "a sum of {sum}");
    }
    Ok(())
}

async fn server_compressed_unary(client: Client) -> Outcome {
    let mut client = client.accept_compressed(Gzip);
    for compressed in [true, false] {
        let request = pb::SimpleRequest {
            response_compressed: flag(compressed),
            ..large()
        };
        let response = client.unary_call(request).await?;
        ensure!(
            check_encoding(response.metadata()).is_ok() == compressed,
            "{:?}",
            response.metadata()
        );
        check_large(response.get_ref())?;
    }
    Ok(())
}

async fn run(case: &str, channel: Channel) -> Outcome {
    let client = Client::new(channel.clone());
    let special = "\t\ntest with whitespace\r\nand Unicode BMP \u{263a} and non-BMP \u{1f608}\t\n";
    match case {
        "empty_unary" => client
            .clone()
            .empty_call(pb::Empty {})
            .await
            .map(|_| ())
            .map_err(Into::into),
        "large_unary" => large_unary(client).await,
        "client_streaming" => client_streaming(client).await,
        "server_streaming" => check_server_stream(client, None).await,
        "ping_pong" => ping_pong(client).await,
        "empty_stream" => empty_stream(client).await,
        "custom_metadata" => custom_metadata(client).await,
        "status_code_and_message" => check_echoed_status(client, "test status message", true).await,
        "special_status_message" => check_echoed_status(client, special, false).await,
        "unimplemented_method" => check_status(
            client.clone().unimplemented_call(pb::Empty {}).await,
            Code::Unimplemented,
            None,
        ),
        "unimplemented_service" => {
            let mut client = UnimplementedServiceClient::new(channel);
            check_status(
                client.unimplemented_call(pb::Empty {}).await,
                Code::Unimplemented,
                None,
            )
        }
        "cancel_after_begin" => cancel_after_begin(client).await,
        "cancel_after_first_response" => cancel_after_first_response(client).await,
        "timeout_on_sleeping_server" => timeout_on_sleeping_server(client).await,
        "client_compressed_unary" => client_compressed_unary(client).await,
        "server_compressed_unary" => server_compressed_unary(client).await,
        "client_compressed_streaming" => client_compressed_streaming(client).await,
        "server_compressed_streaming" => {
            check_server_stream(
                client.accept_compressed(Gzip),
                Some([true, false, false, true]),
            )
            .await
        }
        _ => Err("no such case".into()),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, address, case] = arguments.as_slice() else {
        return Err("usage: interop ADDRESS CASE".into());
    };
    let channel = Channel::from_shared(format!("http://{address}"))?
        .connect()
        .await?;
    run(case, channel).await
}
