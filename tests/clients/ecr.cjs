// What the AWS SDK for JavaScript sees: a repository, an image, its pages and its errors.
// Prints one JSON document for the test to read. Arguments: repository, manifest, layers.

const { readFileSync } = require("node:fs");
const {
  ECRClient,
  BatchDeleteImageCommand,
  BatchGetImageCommand,
  CompleteLayerUploadCommand,
  CreateRepositoryCommand,
  DeleteRepositoryCommand,
  DescribeRepositoriesCommand,
  GetAuthorizationTokenCommand,
  InitiateLayerUploadCommand,
  PutImageCommand,
  UploadLayerPartCommand,
  paginateListImages,
} = require("@aws-sdk/client-ecr");

async function main(repositoryName, manifest, layers) {
  const client = new ECRClient({ maxAttempts: 1 });
  const seen = {};
  const made = await client.send(new CreateRepositoryCommand({ repositoryName }));
  seen.createdAt = made.repository.createdAt.toISOString();
  seen.uri = made.repository.repositoryUri;
  const token = await client.send(new GetAuthorizationTokenCommand({}));
  seen.token = token.authorizationData[0].authorizationToken;
  for (const layer of layers) {
    const data = readFileSync(layer);
    const digest = "sha256:" + require("node:crypto").createHash("sha256").update(data).digest("hex");
    const { uploadId } = await client.send(new InitiateLayerUploadCommand({ repositoryName }));
    await client.send(
      new UploadLayerPartCommand({
        repositoryName,
        uploadId,
        partFirstByte: 0,
        partLastByte: data.length - 1,
        layerPartBlob: data,
      }),
    );
    await client.send(
      new CompleteLayerUploadCommand({ repositoryName, uploadId, layerDigests: [digest] }),
    );
  }
  const imageManifest = readFileSync(manifest, "utf8");
  for (const imageTag of ["1", "2", "3"]) {
    const put = await client.send(new PutImageCommand({ repositoryName, imageManifest, imageTag }));
    seen.digest = put.image.imageId.imageDigest;
  }
  seen.tags = [];
  for await (const page of paginateListImages({ client, pageSize: 2 }, { repositoryName })) {
    seen.tags.push(...page.imageIds.map((id) => id.imageTag));
  }
  const got = await client.send(
    new BatchGetImageCommand({ repositoryName, imageIds: [{ imageTag: "2" }] }),
  );
  seen.same = got.images[0].imageManifest === imageManifest;
  await client.send(new BatchDeleteImageCommand({ repositoryName, imageIds: [{ imageTag: "1" }] }));
  await client.send(new DeleteRepositoryCommand({ repositoryName, force: true }));
  try {
    await client.send(new DescribeRepositoriesCommand({ repositoryNames: [repositoryName] }));
  } catch (error) {
    seen.error = error.name;
    seen.message = error.message;
    seen.requestId = error.$metadata.requestId;
  }
  console.log(JSON.stringify(seen));
}

main(process.argv[2], process.argv[3], process.argv.slice(4));
