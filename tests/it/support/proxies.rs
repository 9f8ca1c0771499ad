//! `TestProxy`: a proxy for connections to the upstream, SOCKS5 or HTTP, or for a browser, which can break.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A proxy that connects everything to one address.
pub struct TestProxy {
    pub address: String,
    /// The names and ports that were requested.
    pub requested: Arc<Mutex<Vec<String>>>,
    is_broken: watch::Sender<bool>,
}

/// What a client says before its bytes are passed on.
#[derive(Clone, Copy)]
enum Protocol {
    Socks,
    Http,
    /// Nothing.
    Plain,
}

#[derive(Clone)]
struct Served {
    protocol: Protocol,
    target: String,
    /// `user:password` that a client must show.
    credential: Option<String>,
    requested: Arc<Mutex<Vec<String>>>,
}

impl TestProxy {
    /// A SOCKS5 server (RFC 1928).
    pub async fn socks(target: &str, credential: Option<&str>) -> Self {
        Self::start(Protocol::Socks, target, credential).await
    }

    /// An HTTP proxy, which opens tunnels only.
    pub async fn http(target: &str, credential: Option<&str>) -> Self {
        Self::start(Protocol::Http, target, credential).await
    }

    /// Passes every connection on.
    pub async fn plain(target: &str) -> Self {
        Self::start(Protocol::Plain, target, None).await
    }

    async fn start(protocol: Protocol, target: &str, credential: Option<&str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let requested = Arc::<Mutex<Vec<String>>>::default();
        let served = Served {
            protocol,
            target: target.trim_start_matches("http://").to_owned(),
            credential: credential.map(ToOwned::to_owned),
            requested: requested.clone(),
        };
        let (is_broken, breaks) = watch::channel(false);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (served, mut breaks) = (served.clone(), breaks.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        biased;
                        Ok(_) = breaks.wait_for(|is_broken| *is_broken) => {}
                        // A client that leaves early is no failure of the test.
                        _ = serve(stream, &served) => {}
                    }
                });
            }
        });
        Self {
            address,
            requested,
            is_broken,
        }
    }

    /// Cuts all connections and every later one, or serves again.
    pub fn set_broken(&self, is_broken: bool) {
        self.is_broken.send_replace(is_broken);
    }

    pub fn requests(&self) -> usize {
        self.requested.lock().len()
    }
}

async fn serve(mut client: TcpStream, served: &Served) -> io::Result<()> {
    let requested = match served.protocol {
        Protocol::Socks => socks_request(&mut client, served).await?,
        Protocol::Http => http_request(&mut client, served).await?,
        Protocol::Plain => Some(served.target.clone()),
    };
    let Some(requested) = requested else {
        return Ok(());
    };
    served.requested.lock().push(requested);
    let mut upstream = TcpStream::connect(&served.target).await?;
    let accepted: &[u8] = match served.protocol {
        Protocol::Socks => &[5, 0, 0, 1, 0, 0, 0, 0, 0, 0],
        Protocol::Http => b"HTTP/1.1 200 Connection established\r\n\r\n",
        Protocol::Plain => b"",
    };
    client.write_all(accepted).await?;
    copy_bidirectional(&mut client, &mut upstream).await?;
    Ok(())
}

/// The requested name and port; `None`: the client was refused.
async fn http_request(client: &mut TcpStream, served: &Served) -> io::Result<Option<String>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await?);
    }
    let head = String::from_utf8(head).unwrap();
    let target = head.strip_prefix("CONNECT ").expect("a tunnel");
    let target = target.split(' ').next().unwrap().to_owned();
    let expected = served.credential.as_ref().map(|credential| {
        let credential = BASE64_STANDARD.encode(credential);
        format!("proxy-authorization: basic {credential}").to_ascii_lowercase()
    });
    if expected.is_some_and(|expected| !head.to_ascii_lowercase().contains(&expected)) {
        let refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n";
        client.write_all(refusal).await?;
        return Ok(None);
    }
    Ok(Some(target))
}

async fn socks_request(client: &mut TcpStream, served: &Served) -> io::Result<Option<String>> {
    let mut greeting = [0; 2];
    client.read_exact(&mut greeting).await?;
    let mut methods = vec![0; usize::from(greeting[1])];
    client.read_exact(&mut methods).await?;
    if let Some(credential) = &served.credential {
        if !methods.contains(&2) {
            client.write_all(&[5, 0xff]).await?;
            return Ok(None);
        }
        client.write_all(&[5, 2]).await?;
        let mut shown = Vec::new();
        assert_eq!(client.read_u8().await?, 1, "version of RFC 1929");
        for _ in 0..2 {
            let length = client.read_u8().await?;
            let mut text = vec![0; usize::from(length)];
            client.read_exact(&mut text).await?;
            shown.push(String::from_utf8(text).unwrap());
        }
        if shown.join(":") != *credential {
            client.write_all(&[1, 1]).await?;
            return Ok(None);
        }
        client.write_all(&[1, 0]).await?;
    } else {
        client.write_all(&[5, 0]).await?;
    }
    let mut request = [0; 4];
    client.read_exact(&mut request).await?;
    assert_eq!(request[..3], [5, 1, 0], "a CONNECT of version 5");
    let host = match request[3] {
        1 => {
            let mut address = [0; 4];
            client.read_exact(&mut address).await?;
            Ipv4Addr::from(address).to_string()
        }
        3 => {
            let length = client.read_u8().await?;
            let mut name = vec![0; usize::from(length)];
            client.read_exact(&mut name).await?;
            String::from_utf8(name).unwrap()
        }
        other => panic!("address type {other}"),
    };
    let port = client.read_u16().await?;
    Ok(Some(format!("{host}:{port}")))
}
