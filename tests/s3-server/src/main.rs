//! `s3-server DIRECTORY`: serves the buckets in a directory over S3 on a free port of the loopback, prints the port, and ends
//! with its standard input. Requests are checked against the access key `test` with the secret `test-secret`.
//!
//! s3s-fs looks at a condition and then writes, and keeps an object's tag beside it, with time in between; real S3 does all at
//! once, whether the client lives to hear of it or not. So here a write excludes all else, and goes on when its client is gone.

use std::sync::Arc;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::dto::*;
use s3s::service::S3ServiceBuilder;
use s3s::{S3, S3Request, S3Response, S3Result};
use s3s_fs::FileSystem;

struct Server {
    files: Arc<FileSystem>,
    objects: Arc<tokio::sync::RwLock<()>>,
}

macro_rules! passed_on {
    ($($name:ident: $input:ident -> $output:ident,)*) => {
        #[async_trait::async_trait]
        impl S3 for Server {
            $(async fn $name(&self, request: S3Request<$input>) -> S3Result<S3Response<$output>> {
                let _nobody_writes = self.objects.read().await;
                self.files.$name(request).await
            })*

            async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
                let (files, objects) = (self.files.clone(), self.objects.clone());
                let write = tokio::spawn(async move {
                    let _alone = objects.write().await;
                    files.put_object(request).await
                });
                write.await.expect("a write does not panic")
            }
        }
    };
}

passed_on! {
    get_object: GetObjectInput -> GetObjectOutput,
    head_object: HeadObjectInput -> HeadObjectOutput,
    delete_object: DeleteObjectInput -> DeleteObjectOutput,
    delete_objects: DeleteObjectsInput -> DeleteObjectsOutput,
    list_objects: ListObjectsInput -> ListObjectsOutput,
    list_objects_v2: ListObjectsV2Input -> ListObjectsV2Output,
    create_multipart_upload: CreateMultipartUploadInput -> CreateMultipartUploadOutput,
    upload_part: UploadPartInput -> UploadPartOutput,
    complete_multipart_upload: CompleteMultipartUploadInput -> CompleteMultipartUploadOutput,
    abort_multipart_upload: AbortMultipartUploadInput -> AbortMultipartUploadOutput,
}

#[tokio::main]
async fn main() {
    let root = std::env::args_os().nth(1).expect("usage: s3-server DIRECTORY");
    let server =
        Server { files: Arc::new(FileSystem::new(root).expect("a directory")), objects: <_>::default() };
    let mut service = S3ServiceBuilder::new(server);
    service.set_auth(SimpleAuth::from_single("test", "test-secret"));
    let service = service.build();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    println!("{}", listener.local_addr().expect("an address").port());
    // Whoever started it is gone when its standard input is.
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(0);
    });
    let http = Builder::new(TokioExecutor::new());
    loop {
        let Ok((socket, _)) = listener.accept().await else { continue };
        let connection = http.serve_connection(TokioIo::new(socket), service.clone()).into_owned();
        tokio::spawn(async move {
            let _ = connection.await;
        });
    }
}
