//! Application protocols.

use rustls::AlertDescription;

use super::*;

const H2: &[u8] = b"h2";
const HTTP11: &[u8] = b"http/1.1";
const HTTP10: &[u8] = b"http/1.0";

fn gateway(alpn: &[&[u8]], alpn_mismatch: AlpnMismatch) -> Gateway {
    let mut listener = listener();
    listener.alpn = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    listener.alpn_mismatch = alpn_mismatch;
    let www = Ca::new("ca").credential(&["www.example.com"], KeyType::EcdsaP256, 0);
    Gateway::new(&listener, None, &[("www", www)])
}

fn client(alpn: &[&'static [u8]]) -> Arc<ClientConfig> {
    let client = Client {
        alpn: alpn.to_vec(),
        ..Client::default()
    };
    client.build()
}

#[tokio::test]
async fn the_listeners_order_decides_for_each_of_the_four_lists() {
    let (http1_only, http2_only): (&[&[u8]], &[&[u8]]) = (&[HTTP11, HTTP10], &[H2]);
    let (http2_optional, http2_preferred): (&[&[u8]], &[&[u8]]) =
        (&[HTTP11, HTTP10, H2], &[H2, HTTP11, HTTP10]);
    for (list, offered, chosen) in [
        (http1_only, [H2, HTTP10, HTTP11].as_slice(), HTTP11),
        (http1_only, &[H2, HTTP10], HTTP10),
        (http2_only, &[HTTP11, H2], H2),
        (http2_optional, &[H2, HTTP11], HTTP11),
        (http2_optional, &[H2, HTTP10], HTTP10),
        (http2_optional, &[H2], H2),
        (http2_preferred, &[HTTP10, HTTP11, H2], H2),
        (http2_preferred, &[HTTP10, HTTP11], HTTP11),
    ] {
        let gateway = gateway(list, AlpnMismatch::Alert);
        let session = gateway
            .connect(&client(offered), "www.example.com")
            .await
            .session();
        assert_eq!(session.alpn.as_deref(), Some(chosen));
    }
}

#[tokio::test]
async fn a_client_without_a_common_protocol_is_alerted_or_goes_on_without_alpn() {
    let refused = gateway(&[H2], AlpnMismatch::Alert)
        .connect(&client(&[HTTP11]), "www.example.com")
        .await;
    assert_eq!(refused.alert(), AlertDescription::NoApplicationProtocol);
    let session = gateway(&[H2], AlpnMismatch::Continue)
        .connect(&client(&[HTTP11]), "www.example.com")
        .await
        .session();
    assert_eq!(session.alpn, None);
}

#[tokio::test]
async fn a_side_that_does_not_speak_of_alpn_is_served_without() {
    for (ours, theirs) in [([H2].as_slice(), [].as_slice()), (&[], &[HTTP11])] {
        let gateway = gateway(ours, AlpnMismatch::Alert);
        let session = gateway
            .connect(&client(theirs), "www.example.com")
            .await
            .session();
        assert_eq!(session.alpn, None);
    }
}

#[tokio::test]
async fn continuing_without_alpn_still_uses_it_where_there_is_a_common_protocol() {
    let gateway = gateway(&[H2, HTTP11], AlpnMismatch::Continue);
    let session = gateway
        .connect(&client(&[HTTP11]), "www.example.com")
        .await
        .session();
    assert_eq!(session.alpn.as_deref(), Some(HTTP11));
}
